// Attention in chunks, with one operation per line.
#include "arithmetic/attention.h"

#include <algorithm>
#include <cmath>

#include "arithmetic/elementary.h"
#include "base/check.h"

namespace invar::law {

float attention_score(const AttentionSpec& spec, const float* query, const float* key) {
    float dot = 0;
    for (int64_t i = 0; i < spec.head_width; ++i) dot = std::fma(query[i], key[i], dot);
    const float score = dot * spec.scale;
    if (spec.softcap == 0) return score;
    return spec.softcap * tanh(score / spec.softcap);
}

AttentionChunk compute_chunk(const AttentionSpec& spec, const float* query, int64_t chunk, VisiblePositions visible,
                             const CachedRow& key, const CachedRow& value) {
    const int64_t first = std::max(chunk * kAttentionChunk, visible.first);
    const int64_t last = std::min((chunk + 1) * kAttentionChunk, visible.last);
    CHECK(first < last, "a chunk without a visible position does not exist");
    float scores[kAttentionChunk];
    for (int64_t t = first; t < last; ++t) scores[t - first] = attention_score(spec, query, key(t));

    AttentionChunk result;
    result.m = scores[0];
    for (int64_t t = 1; t < last - first; ++t) result.m = scores[t] > result.m ? scores[t] : result.m;
    result.o.assign(spec.value_width, 0.0f);
    for (int64_t t = first; t < last; ++t) {
        const float e = exp(scores[t - first] - result.m);
        result.l = result.l + e;
        const float* row = value(t);
        for (int64_t i = 0; i < spec.value_width; ++i) result.o[i] = std::fma(e, row[i], result.o[i]);
    }
    return result;
}

void merge(AttentionChunk& state, const AttentionChunk& next) {
    const float m = next.m > state.m ? next.m : state.m;
    const float a = exp(state.m - m);
    const float b = exp(next.m - m);
    state.m = m;
    state.l = std::fma(state.l, a, next.l * b);
    for (size_t i = 0; i < state.o.size(); ++i) state.o[i] = std::fma(state.o[i], a, next.o[i] * b);
}

void finish_attention(const AttentionSpec& spec, AttentionChunk state, float* out) {
    if (spec.sink) merge(state, {*spec.sink, 1.0f, std::vector<float>(state.o.size(), 0.0f)});
    for (size_t i = 0; i < state.o.size(); ++i) out[i] = state.o[i] / state.l;
}

void attention_head(const AttentionSpec& spec, const float* query, VisiblePositions visible, const CachedRow& key,
                    const CachedRow& value, float* out) {
    AttentionChunk state = compute_chunk(spec, query, visible.first_chunk(), visible, key, value);
    for (int64_t chunk = visible.first_chunk() + 1; chunk <= visible.last_chunk(); ++chunk)
        merge(state, compute_chunk(spec, query, chunk, visible, key, value));
    finish_attention(spec, std::move(state), out);
}

}  // namespace invar::law
