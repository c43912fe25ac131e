// A recording: what every stage of one token sequence came to, in forward order, whatever machine, chunking or engine
// made it. In memory here; as a SafeTensors file in recording_file.h. Stage names are stable: they are the names that
// models give (ops.h Stage) with the layer, and those of stages_of_call() for verbs that have no single result.
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

// Which stage: "embedding", "layer.12.attention_norm", "layer.3.gate#2" for a second occurrence in a pass.
struct StageKey {
    int layer = -1;
    std::string name;
    int occurrence = 1;
    auto operator<=>(const StageKey&) const = default;
};
std::string to_string(const StageKey& key);
Result<StageKey> parse_stage_key(std::string_view text);

// What is kept of a position where the values are not: the mode for models whose recording would not fit.
struct StageStatistics {
    double least = 0, greatest = 0, mean = 0, rms = 0;  // of the finite values, in binary64; 0 where there is none
    int64_t non_finite = 0;
    std::string hash;  // of the values' bits (base/hash.h): equal hashes are equal bits
};

// The values of a stage at each position it was computed for.
struct StageRecord {
    StageKey key;
    std::string verb, kernel;  // kernel: "" where unknown
    ElementType type = ElementType::f32;
    std::vector<int64_t> shape;      // of one position: [width], or [experts_per_row, width]
    std::vector<int64_t> positions;  // rising
    std::vector<std::byte> data;     // [positions, shape...], little-endian; empty in statistics-only recordings
    std::vector<StageStatistics> statistics;  // one a position, in statistics-only recordings
    // Of dumps that hold only a part of each position: which elements of whole_shape there are, rising; shape is then
    // [elements.size()]. Empty: all of them.
    std::vector<int64_t> elements, whole_shape;

    int64_t width() const;  // elements of one position
    const std::byte* at(int64_t index) const { return data.data() + index * width() * element_bytes(type); }
    double value(int64_t index, int64_t element) const;  // of any type, exactly
    // Index of a position; nothing where the stage was not computed for it.
    std::optional<int64_t> index_of(int64_t position) const;
};
// Of `width` values of one position.
StageStatistics statistics_of(ElementType type, const std::byte* values, int64_t width);
double value_at(ElementType type, const std::byte* values, int64_t index);

// Some stages have more values at later positions; in a recording all positions are as wide as the widest, filled with
// this: attention scores -inf, sampler candidates -1, their probabilities 0. Nothing for all other stages.
std::optional<double> padding_of(std::string_view stage_name);
// Makes the last dimension `width`, at least what it is.
void widen_rows(StageRecord& stage, int64_t width);
// Of the values at that index, without the filling behind the last one: recorded or computed.
StageStatistics statistics_at(const StageRecord& stage, int64_t index);

struct Recording {
    std::vector<StageRecord> stages;              // forward order
    bool order_is_stated = true;                  // false: guessed from names (sort_by_names)
    std::vector<int32_t> tokens;                  // tokens[p] is at position p
    std::map<std::string, std::string> metadata;  // model, model_hash, arithmetic, backend, threads, chunk, ...

    const StageRecord* find(const StageKey& key) const;
    bool statistics_only() const { return !stages.empty() && !stages.front().statistics.empty(); }
};

// Forward order from names alone, for recordings that do not state theirs: the embedding, the layers with their stages
// as models call them, the end. Stages of unknown names follow the known ones of their layer, in the order they have.
void sort_by_names(std::vector<StageRecord>& stages);

}  // namespace invar
