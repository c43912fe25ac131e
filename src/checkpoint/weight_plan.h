// The weight plan lists every byte that will be resident, with its place, form and reason, before any payload byte is
// read. It is a pure function of (what the model declares, the file's header, the request). `invar plan` prints it, the
// loader executes it (loader.h), and the result is compared with it entry by entry (registry.h). It does not choose
// kernels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "base/result.h"
#include "checkpoint/binding.h"
#include "models/architecture.h"
#include "ops/accelerator.h"
#include "state/sequence_state.h"

namespace invar {

// How matrices are to be kept.
enum class FormRequest : uint8_t {
    automatic,  // repacked where a vector kernel multiplies with the matrix, as stored elsewhere
    as_stored,  // everything stays in the mapped file: starts at once, slower
    repacked,   // like automatic, but asked for by name
};

// A device beside the CPU, and the part of the model it gets: the last `layers` layers, where the output (norm, head
// and with them the embedding) counts as one more. Rope's frequency table stays on the host, which computes angles from
// it.
struct DeviceRequest {
    const Accelerator& accelerator;  // for sizes and limits
    AcceleratorFacts facts;
    int64_t layers = 0;
    bool experts_on_host = false;
    int64_t memory_bytes = 0;   // the budget
    std::string memory_source;  // "the device's free memory", "--gpu-memory"
};

struct PlanRequest {
    bool vector_kernels = true;  // whether the machine has them, so that repacking pays
    FormRequest form = FormRequest::automatic;
    CacheType cache_type = CacheType::f16;
    int64_t context = 0;  // positions in all; 0: what the model was trained for, at most kDefaultContext
    int64_t chunk = 512;  // prompt tokens in one pass
    int sequences = 1;    // at one time
    // For how many positions, of all sequences together, the KV cache gets pages; 0: each can fill its context.
    int64_t cache_positions = 0;
    // Snapshots of recurrences, of all sequences together; nothing: as many as kSnapshotBytes holds, from 1 to
    // kMostSnapshots.
    std::optional<int64_t> snapshots;
    std::optional<int64_t> memory_bytes;  // the budget; nothing: not checked
    std::string memory_source;            // where the budget comes from: "available memory", "--memory"
    std::optional<DeviceRequest> device;
};
inline constexpr int64_t kDefaultContext = 4096;
inline constexpr int64_t kSnapshotBytes = int64_t{512} << 20;
inline constexpr int64_t kMostSnapshots = 16;

// The context of a plan for which `requested` positions were asked for.
inline int64_t planned_context(const ModelConfig& config, int64_t requested) {
    return requested > 0 ? requested : std::min(config.context_length, kDefaultContext);
}

struct PlanEntry {
    WeightId id;
    std::string tensor;  // its name in the file; for an alias the name it would have had
    WeightShape kind = WeightShape::matrix;
    std::vector<int64_t> shape;      // outermost first
    StoredWeight stored;             // how the checkpoint holds it; of an alias without matrices
    const Format* source = nullptr;  // the format in which the checkpoint hands it out
    StoredForm form = StoredForm::as_stored;
    Place place = Place::host;
    int64_t bytes = 0;  // resident; for as_stored, where they are not made, bytes of the mapped file; 0 for an alias
    int64_t file_bytes = 0;
    std::optional<WeightId> alias_of;
    bool makes_logits = false;      // the head
    bool looked_up_by_row = false;  // an embedding table
    bool read_by_host = false;      // no verb reads it
    std::string reason;

    // Numbers that products read beside its bytes: scales of experts, then of rows. (The scale of a whole matrix is
    // handed over with the call.)
    std::span<const float> expert_scales() const;
    std::vector<float> scales_beside() const;
    int64_t scale_bytes() const;  // of these
    // Whether its rows lie nowhere in the files as they are wanted.
    bool is_made() const { return !stored.matrices.empty() && stored.in_place() == nullptr; }
    // Whether it takes host memory.
    bool has_own_bytes() const {
        return !alias_of && place == Place::host && (form != StoredForm::as_stored || is_made());
    }
};

struct PlanReserve {
    std::string name;  // "kv_cache", "recurrent_state", "scratch"; of the device also "rounding" and "overhead"
    int64_t bytes = 0;
    std::string reason;
    Place place = Place::host;
};

struct WeightPlan {
    std::string architecture, model;
    std::vector<PlanEntry> entries;
    std::vector<PlanReserve> reserves;
    int64_t context = 0, chunk = 0;
    bool chunk_is_context = false;  // attention sees both ways, so a text is one pass and no smaller chunk can be asked
    std::vector<int64_t> cache_units;  // pages or slots of each group of layers (state/geometry.h)
    CacheType cache_type = CacheType::f16;
    std::vector<Place> layer_places;        // of each layer's attention and KV cache
    std::string device;                     // its name; "": none
    int64_t device_scratch = 0;             // tensors of a pass there: its "scratch" line without control arrays
    std::string placement;                  // one sentence: what is on the device, with the sum
    std::vector<std::string> device_notes;  // why there is not more
    int64_t file_bytes = 0;                 // of the model file, all parts
    std::string cache_file;                 // the file from which packed weights are mapped (weight_cache.h); "": none
    std::vector<IgnoredTensors> ignored;
    std::vector<std::string> notes;

    int64_t weight_bytes() const;  // over entries, with the scales beside them
    int64_t weight_bytes(Place place) const;
    int64_t reserve_bytes(Place place) const;
    int64_t total_bytes(Place place) const { return weight_bytes(place) + reserve_bytes(place); }
    int64_t total_bytes() const { return total_bytes(Place::host) + total_bytes(Place::device); }
    const PlanReserve* reserve(std::string_view name, Place place) const;
    // Keys, values and recurrent states, which are one block.
    int64_t cache_bytes(Place place) const;
    // Where each entry starts in the block of the device's weights (-1: not there), where the scales beside it start,
    // and the block's length.
    std::vector<int64_t> device_offsets() const;
    static int64_t device_scales_offset(const PlanEntry& entry);  // from the entry's start
    int64_t device_block_bytes() const;
    // Weights and scratch memory minus the size of the file; negative if the file is larger. The KV cache is excluded:
    // context and windows determine its size.
    int64_t above_file_bytes() const;
};

// `scratch_bytes` is what the backend measured for the request's chunk (in a pass without arithmetic, see
// engine/engine.cpp).
Result<WeightPlan> make_weight_plan(const ModelConfig& config, const std::vector<WantedWeight>& wanted,
                                    const Checkpoint& checkpoint, const PlanRequest& request);
// Adds the scratch lines and checks the budgets; the error shows the arithmetic.
struct ScratchBytes {
    int64_t host = 0;
    int64_t device = 0, device_tensors = 0;  // in all, and the part of it for tensors
};
// What a plan takes on the device with this much scratch there; allocations are whole blocks.
int64_t planned_device_bytes(const WeightPlan& plan, const DeviceRequest& device, int64_t scratch_bytes);
Result<void> finish_plan(WeightPlan& plan, const PlanRequest& request, ScratchBytes scratch);
// Whether the host's part fits, for plans that were made without a budget. No budget: nothing is checked. `source` says
// where it comes from: "available memory", "--memory". The error advises only what would make the plan smaller.
Result<void> check_host_memory(const WeightPlan& plan, std::optional<int64_t> budget, const std::string& source);
// The largest value of DeviceRequest::layers: all layers and the output.
inline int64_t most_device_layers(const ModelConfig& config) { return static_cast<int64_t>(config.layers.size()) + 1; }

Json plan_as_json(const WeightPlan& plan);
std::string plan_as_table(const WeightPlan& plan, bool every_tensor);

}  // namespace invar
