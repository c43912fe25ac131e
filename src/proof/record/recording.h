// A recording holds the results of every stage for one token sequence, in forward order, whatever machine, chunking or
// engine made it. recording_file.h stores it as a SafeTensors file. Stage names are stable: a model names its stages
// (ops.h Stage), the layer is added, and recorder.h names the stages of verbs with several results.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"
#include "base/result.h"

namespace invar {

enum class ElementType : uint8_t { f32, f64, i32 };
int64_t element_bytes(ElementType type);

// Identifies a stage: "embedding", "layer.12.attention_norm", "layer.3.gate#2" for its second occurrence in a pass.
struct StageKey {
    int layer = -1;
    std::string name;
    int occurrence = 1;
    auto operator<=>(const StageKey&) const = default;
};
std::string to_string(const StageKey& key);
Result<StageKey> parse_stage_key(std::string_view text);

// What is kept of a position instead of its values, for models whose recording would not fit.
struct StageStatistics {
    double least = 0, greatest = 0, mean = 0, rms = 0;  // of the finite values, in binary64; 0 if there are none
    int64_t non_finite = 0;
    std::string hash;  // of the values' bits (base/hash.h); equal hashes mean equal bits
};

// The values of a stage at each position for which it was computed.
struct StageRecord {
    StageKey key;
    std::string verb, kernel;  // kernel: "" if unknown
    ElementType type = ElementType::f32;
    std::vector<int64_t> shape;      // of one position: [width], or [experts_per_row, width]
    std::vector<int64_t> positions;  // rising
    std::vector<std::byte> data;     // [positions, shape...], little-endian; empty in statistics-only recordings
    std::vector<StageStatistics> statistics;  // one per position, in statistics-only recordings
    // For dumps that hold only a part of each position: which elements of whole_shape they hold, rising. `shape` is
    // then [elements.size()]. Empty: they hold all.
    std::vector<int64_t> elements, whole_shape;

    int64_t width() const;  // elements of one position
    const std::byte* at(int64_t index) const { return data.data() + index * width() * element_bytes(type); }
    double value(int64_t index, int64_t element) const;  // exact for every type
    // The index of a position; nothing if the stage was not computed for it.
    std::optional<int64_t> index_of(int64_t position) const;
};
// `values` holds `width` values of one position.
StageStatistics statistics_of(ElementType type, const std::byte* values, int64_t width);
double value_at(ElementType type, const std::byte* values, int64_t index);

// Some stages have more values at later positions. A recording pads all positions to the widest with this value: -inf
// for attention scores, -1 for sampler candidates, 0 for their probabilities. Nothing for all other stages.
std::optional<double> padding_of(std::string_view stage_name);
// Pads the last dimension to `width`, which must not be less than it is.
void widen_rows(StageRecord& stage, int64_t width);
// The statistics of the values at that index without padding, either recorded or computed.
StageStatistics statistics_at(const StageRecord& stage, int64_t index);

struct Recording {
    std::vector<StageRecord> stages;              // forward order
    bool order_is_stated = true;                  // false: it was guessed from names (sort_by_names)
    std::vector<int32_t> tokens;                  // tokens[p] is at position p
    std::map<std::string, std::string> metadata;  // model, model_hash, arithmetic, backend, threads, chunk, ...

    const StageRecord* find(const StageKey& key) const;
    bool statistics_only() const { return !stages.empty() && !stages.front().statistics.empty(); }
};

// Guesses the forward order from names, for recordings that do not state it: the embedding, the layers with their
// stages as models call them, the end. Stages of unknown names come after the known ones of their layer, in the order
// they had.
void sort_by_names(std::vector<StageRecord>& stages);

}  // namespace invar
