// The weight plan: before any payload byte is read, every byte that will be resident, where, in which form, and why. A
// pure function of (what the model declares, the file's header, the request); printed by `invar plan`, executed by the
// loader (loader.h), compared with the result entry by entry (registry.h). It does not choose kernels.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "files/gguf.h"
#include "models/architecture.h"
#include "ops/kv_cache.h"

namespace invar {

// How matrices are to be kept.
enum class FormRequest : uint8_t {
    automatic,  // repacked where a vector kernel multiplies with the matrix, as stored elsewhere
    as_stored,  // everything stays in the mapped file: starts at once, slower
    repacked,   // as automatic, named
};

struct PlanRequest {
    bool vector_kernels = true;  // the machine has them, so repacking pays
    FormRequest form = FormRequest::automatic;
    CacheType cache_type = CacheType::f16;
    int64_t context = 0;  // positions in all; 0: what the model was trained for, at most kDefaultContext
    int64_t chunk = 512;  // prompt tokens in one pass
    int sequences = 1;    // that the KV cache has room for, each of `context` positions
    std::optional<int64_t> memory_bytes;  // the budget; nothing: not checked
    std::string memory_source;            // what the budget is: "available memory", "--memory"
};
inline constexpr int64_t kDefaultContext = 4096;

struct PlanEntry {
    WeightId id;
    std::string tensor;  // its name in the file; for an alias the name it would have had
    WeightShape kind = WeightShape::matrix;
    std::vector<int64_t> shape;      // outermost first
    const Format* source = nullptr;  // format in the file
    StoredForm form = StoredForm::as_stored;
    Place place = Place::host;
    int64_t bytes = 0;  // resident; for as_stored these are bytes of the mapped file; 0 for an alias
    int64_t file_bytes = 0;
    std::optional<WeightId> alias_of;
    std::string reason;
};

struct PlanReserve {
    std::string name;  // "kv_cache", "scratch"
    int64_t bytes = 0;
    std::string reason;
};

struct WeightPlan {
    std::string architecture, model;
    std::vector<PlanEntry> entries;
    std::vector<PlanReserve> reserves;
    int64_t context = 0, chunk = 0, cache_pages = 0;
    CacheType cache_type = CacheType::f16;
    std::vector<std::string> notes;

    int64_t weight_bytes() const;  // over entries
    int64_t reserve_bytes() const;
    int64_t total_bytes() const { return weight_bytes() + reserve_bytes(); }
};

// Proves that the declared weights and the file's tensors correspond one to one with equal shapes. Errors name the
// weight or tensor: missing, unexpected, or both shapes.
Result<void> check_binding(const std::vector<WantedWeight>& wanted, const GgufFile& file);

// `scratch_bytes`: what the backend measured for the request's chunk (a pass without arithmetic, see
// generate/engine.cpp).
Result<WeightPlan> make_weight_plan(const ModelConfig& config, const std::vector<WantedWeight>& wanted,
                                    const GgufFile& file, const PlanRequest& request);
// Adds the scratch line and checks the budget; the error shows the arithmetic.
Result<void> finish_plan(WeightPlan& plan, const PlanRequest& request, int64_t scratch_bytes);

Json plan_as_json(const WeightPlan& plan);
std::string plan_as_table(const WeightPlan& plan, bool every_tensor);

}  // namespace invar
