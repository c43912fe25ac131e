// Attention of one query in one head, as the law defines it (docs/arithmetic.md, section 5). It works in chunks of 64
// positions, which can be computed anywhere and merge to the same bits. Here keys and values are rows already widened
// to f32; the caller loops over grouped heads, caches and batches.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "arithmetic/device.h"

namespace invar {

// How the cache stores keys and values; f16 and bf16 are rounded to nearest even when stored and widened exactly.
enum class CacheType { f16, bf16, f32 };

inline constexpr int64_t kAttentionChunk = 64;  // positions; chunk c holds [64 c, 64 c + 64) of the sequence

struct AttentionSpec {
    int64_t head_width = 0;     // of a query and a key
    int64_t value_width = 0;    // of a value and the output
    float scale = 1;            // usually 1 / sqrt(head_width)
    float softcap = 0;          // score = softcap * tanh(score / softcap); 0 = none
    std::optional<float> sink;  // a logit without a value, merged last
};

// Which positions of its sequence a query sees, its own always. A window limits each of them; 0 is none.
enum class Reach : uint8_t {
    causal,     // those up to its own; with a window the last `window` of them
    in_blocks,  // those up to its own, from the start of its block of `window` positions: Llama 4
    both_ways,  // all of the sequence; with a window those at most window / 2 away: encoders
};

// The positions that a query sees: [first, last). Never empty. Kernels for GPUs count in 32 bits, to save registers.
template <class Position>
struct VisibleRange {
    Position first = 0;
    Position last = 0;
};
struct VisiblePositions {
    int64_t first = 0;
    int64_t last = 0;

    int64_t first_chunk() const { return first / kAttentionChunk; }
    int64_t last_chunk() const { return (last - 1) / kAttentionChunk; }  // the last one that has a visible position
};

// Returns the key [head_width] or value [value_width] at a position. The pointer is used up before the next call.
using CachedRow = std::function<const float*(int64_t position)>;

// The result of one chunk, or of several merged chunks.
struct AttentionChunk {
    float m = 0;           // the largest score
    float l = 0;           // sum of exp(score - m)
    std::vector<float> o;  // [value_width], sum of exp(score - m) * value
};

namespace law {

// What the query at `position` sees of a sequence whose positions are 0 .. end - 1. Only both_ways looks at `end`.
template <class Position>
INVAR_DEVICE VisibleRange<Position> visible_range(Reach reach, Position window, Position position, Position end) {
    Position first = 0, last = position + 1;
    if (reach == Reach::causal) {
        if (window > 0 && position >= window) first = position + 1 - window;
    } else if (reach == Reach::in_blocks) {
        if (window > 0) first = position - position % window;
    } else {
        last = end;
        if (window > 0 && position > window / 2) first = position - window / 2;
        if (window > 0 && end - position > window / 2) last = position + window / 2 + 1;
    }
    return {first, last};
}
inline VisiblePositions visible_positions(Reach reach, int64_t window, int64_t position, int64_t end) {
    const VisibleRange<int64_t> range = visible_range<int64_t>(reach, window, position, end);
    return {range.first, range.last};
}

// (dot(q, k) * scale), soft-capped where the spec says so. The dot is sequential: s = fma(q[i], k[i], s) from +0.
float attention_score(const AttentionSpec& spec, const float* query, const float* key);

// Computes the visible positions of one chunk; at least one must be visible.
AttentionChunk compute_chunk(const AttentionSpec& spec, const float* query, int64_t chunk, VisiblePositions visible,
                             const CachedRow& key, const CachedRow& value);

// m' = max(m, m_c), a = exp(m - m'), b = exp(m_c - m'), l = fma(l, a, l_c * b), o = fma(o, a, o_c * b).
void merge(AttentionChunk& state, const AttentionChunk& next);

// Merges the sink, if there is one, as a chunk of one score whose value is zero; then out = o / l.
void finish_attention(const AttentionSpec& spec, AttentionChunk state, float* out);

// The whole computation: the first chunk with a visible position is the state, the others merge in rising order.
void attention_head(const AttentionSpec& spec, const float* query, VisiblePositions visible, const CachedRow& key,
                    const CachedRow& value, float* out);

}  // namespace law
}  // namespace invar
