// Attention over one page, written once in the vocabulary of simd_avx2.h and simd_avx512.h: a .cpp file for each
// instruction set includes its simd header, elementary_body.h and this file. It equals attention_kernels.cpp bit for
// bit. In the dot products keys are lanes, so that a lane's chain of fma is the law's dot; in the sums the columns of a
// value are lanes, and positions are taken in rising order. A few queries are computed together, so that a key or value
// is loaded and widened once for all of them and 8 to 16 chains of fma are in flight.
#pragma once

#include "base/unroll.h"
#include "cpu/attention_kernels.h"

namespace invar {
namespace {

constexpr int kRegisters = 4;                     // of keys or values that a step holds
constexpr int kBlockLanes = kRegisters * kLanes;  // 32 or 64

template <CachedFloat type>
inline Floats load_cached(const std::byte* elements, int64_t index) {
    if constexpr (type == CachedFloat::f32) {
        return load(reinterpret_cast<const float*>(elements) + index);
    } else if constexpr (type == CachedFloat::f16) {
        return load_f16(reinterpret_cast<const uint16_t*>(elements) + index);
    } else {
        return load_bf16(reinterpret_cast<const uint16_t*>(elements) + index);
    }
}

template <CachedFloat type>
inline float cached_value(const std::byte* elements, int64_t index) {
    if constexpr (type == CachedFloat::f32) {
        return reinterpret_cast<const float*>(elements)[index];
    } else if constexpr (type == CachedFloat::f16) {
        return _cvtsh_ss(reinterpret_cast<const uint16_t*>(elements)[index]);
    } else {
        return __builtin_bit_cast(float, static_cast<uint32_t>(reinterpret_cast<const uint16_t*>(elements)[index])
                                             << 16);
    }
}

// Fetches the next page a little at each step of a loop: its keys with this page's keys, its values with this page's
// values, so that memory is read evenly and a page ahead. Pages are 16 to 64 KiB apart and the hardware's prefetchers
// start anew at each. Without this, attention over a context larger than the caches takes twice as long.
class EarlyFetch {
  public:
    EarlyFetch(const std::byte* start, int64_t bytes, int64_t steps)
        : place_(start),
          end_(start == nullptr ? nullptr : start + bytes),
          bytes_of_step_((bytes / steps + 63) / 64 * 64) {}

    inline void step() {
        for (const std::byte* end = place_ + bytes_of_step_; place_ < end && place_ < end_; place_ += 64) {
            __builtin_prefetch(place_, 0, 2);
        }
    }

  private:
    const std::byte* place_;
    const std::byte* end_;
    int64_t bytes_of_step_;
};

template <CachedFloat type>
inline __m256 load_eight(const std::byte* elements, int64_t index) {
    if constexpr (type == CachedFloat::f32) {
        return _mm256_loadu_ps(reinterpret_cast<const float*>(elements) + index);
    } else {
        const __m128i halves =
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(reinterpret_cast<const uint16_t*>(elements) + index));
        if constexpr (type == CachedFloat::f16) return _mm256_cvtph_ps(halves);
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
    }
}

template <CachedFloat type>
constexpr int64_t element_bytes() {
    return type == CachedFloat::f32 ? 4 : 2;
}

// Scores of all 64 positions of the page for kQueries queries from `first` on. Scores of positions that a query does
// not see are ignored later.
template <CachedFloat type, int kQueries>
void score_queries(const ChunkTask& task, int first) {
    const Floats scale = broadcast(task.scale), softcap = broadcast(task.softcap);
    EarlyFetch next_keys(first == 0 ? task.next_keys : nullptr, kChunkLanes * task.key_width * element_bytes<type>(),
                         int64_t{task.key_width} * (kChunkLanes / kBlockLanes));
    for (int block = 0; block < kChunkLanes; block += kBlockLanes) {
        Floats dots[kQueries][kRegisters];
        INVAR_UNROLL for (int q = 0; q < kQueries; ++q) {
            INVAR_UNROLL for (int v = 0; v < kRegisters; ++v) dots[q][v] = broadcast(0.0f);
        }
        for (int i = 0; i < task.key_width; ++i) {
            next_keys.step();
            Floats keys[kRegisters];
            INVAR_UNROLL for (int v = 0; v < kRegisters; ++v) {
                keys[v] = load_cached<type>(task.keys, int64_t{i} * kChunkLanes + block + v * kLanes);
            }
            INVAR_UNROLL for (int q = 0; q < kQueries; ++q) {
                const Floats element = broadcast(task.query[first + q][i]);
                INVAR_UNROLL for (int v = 0; v < kRegisters; ++v) dots[q][v] = fma(element, keys[v], dots[q][v]);
            }
        }
        INVAR_UNROLL for (int q = 0; q < kQueries; ++q) {
            float* scores = task.scores + int64_t{first + q} * kChunkLanes + block;
            INVAR_UNROLL for (int v = 0; v < kRegisters; ++v) {
                Floats score = multiply(dots[q][v], scale);
                if (task.softcap != 0) score = multiply(softcap, tanh_lanes(divide(score, softcap)));
                store(scores + v * kLanes, score);
            }
        }
    }
}

// Computes m of kQueries queries and turns their scores into exp(score - m). The sign of a zero m may differ from the
// law's, which changes no other number: exp takes score - m, and x - (-0) and x - (+0) differ for x = -0 only, where
// exp gives 1 for both.
template <int kQueries>
void exponentials_of(const ChunkTask& task, int first) {
    constexpr int kAll = kChunkLanes / kLanes;
    Floats largest[kQueries];
    INVAR_UNROLL for (int q = 0; q < kQueries; ++q) {
        const VisibleLanes visible = task.visible[first + q];
        const float* scores = task.scores + int64_t{first + q} * kChunkLanes;
        Floats most = broadcast(scores[visible.first]);
        for (int v = 0; v < kAll; ++v) {
            const Floats score = load(scores + v * kLanes);
            most = larger(keep_lanes(score, v * kLanes, visible.first, visible.last, scores[visible.first]), most);
        }
        task.m[first + q] = largest_of(most);
        largest[q] = broadcast(task.m[first + q]);
    }
    for (int v = 0; v < kAll; ++v) {
        INVAR_UNROLL for (int q = 0; q < kQueries; ++q) {
            float* scores = task.scores + int64_t{first + q} * kChunkLanes + v * kLanes;
            store(scores, exp_lanes(subtract(load(scores), largest[q])));
        }
    }
}

// Where element `column` of the values lies. Turned values lie in blocks of kBlockLanes columns, [64][columns] each, so
// that a block fits into the first cache and its rows do not compete for the same places there.
struct ValueBlock {
    int64_t first, stride;  // of position 0, and from one position to the next
    int64_t index(int position) const { return first + position * stride; }
};
template <bool turned>
inline ValueBlock block_of(const ChunkTask& task, int column) {
    if constexpr (!turned) return {column, task.value_width};
    const int block = column / kBlockLanes * kBlockLanes;
    const int width = task.value_width - block < kBlockLanes ? task.value_width - block : kBlockLanes;
    return {int64_t{block} * kChunkLanes + column - block, width};
}

// Adds the positions [from, to) to o[column .. column + kBlock) of kQueries queries; to l too if kSums.
template <CachedFloat type, bool turned, int kQueries, int kBlock, bool kSums>
inline void add_values(const ChunkTask& task, int first, int column, int from, int to) {
    Floats o[kQueries][kBlock], l[kQueries];
    INVAR_UNROLL for (int q = 0; q < kQueries; ++q) {
        float* place = task.o + int64_t{first + q} * task.value_width + column;
        INVAR_UNROLL for (int v = 0; v < kBlock; ++v) o[q][v] = load(place + v * kLanes);
        l[q] = broadcast(task.l[first + q]);
    }
    const float* scores = task.scores + int64_t{first} * kChunkLanes;
    // Each block of columns fetches a share of the next page: as many bytes as it reads itself.
    constexpr int64_t kBytes = kChunkLanes * kBlock * kLanes * element_bytes<type>();
    const bool fetches = first == 0 && kBlock > 1 && task.next_values != nullptr;
    EarlyFetch next_values(fetches ? task.next_values + kChunkLanes * column * element_bytes<type>() : nullptr, kBytes,
                           kChunkLanes);
    const ValueBlock block = block_of<turned>(task, column);
    for (int t = from; t < to; ++t) {
        next_values.step();
        Floats values[kBlock];
        INVAR_UNROLL for (int v = 0; v < kBlock; ++v) {
            values[v] = load_cached<type>(task.values, block.index(t) + v * kLanes);
        }
        INVAR_UNROLL for (int q = 0; q < kQueries; ++q) {
            const Floats e = broadcast(scores[q * kChunkLanes + t]);
            INVAR_UNROLL for (int v = 0; v < kBlock; ++v) o[q][v] = fma(e, values[v], o[q][v]);
            if constexpr (kSums) l[q] = add(l[q], e);
        }
    }
    INVAR_UNROLL for (int q = 0; q < kQueries; ++q) {
        float* place = task.o + int64_t{first + q} * task.value_width + column;
        INVAR_UNROLL for (int v = 0; v < kBlock; ++v) store(place + v * kLanes, o[q][v]);
        if constexpr (kSums) store_first(task.l + first + q, l[q], 1);
    }
}

// Turns eight elements of eight keys, [8][64], into eight values, [8][width].
template <CachedFloat type>
inline void turn_eight(const std::byte* keys, int64_t first, float* values, int64_t width) {
    __m256 row[8], pairs[8], quads[8];
    INVAR_UNROLL for (int i = 0; i < 8; ++i) row[i] = load_eight<type>(keys, first + i * kChunkLanes);
    INVAR_UNROLL for (int i = 0; i < 8; i += 2) {
        pairs[i] = _mm256_unpacklo_ps(row[i], row[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_ps(row[i], row[i + 1]);
    }
    INVAR_UNROLL for (int i = 0; i < 8; i += 4) {
        quads[i] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
        quads[i + 1] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0xEE);
        quads[i + 2] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
        quads[i + 3] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xEE);
    }
    INVAR_UNROLL for (int i = 0; i < 4; ++i) {
        _mm256_storeu_ps(values + i * width, _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x20));
        _mm256_storeu_ps(values + (i + 4) * width, _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x31));
    }
}

// Writes the page's values, which lie in its keys, to task.turned as binary32, once for all of its queries.
template <CachedFloat type>
void turn_values(const ChunkTask& task) {
    const int whole = task.value_width / 8 * 8;
    for (int i = 0; i < whole; i += 8) {
        const ValueBlock block = block_of<true>(task, i);
        for (int t = 0; t < kChunkLanes; t += 8) {
            turn_eight<type>(task.keys, int64_t{i} * kChunkLanes + t, task.turned + block.index(t), block.stride);
        }
    }
    for (int i = whole; i < task.value_width; ++i) {
        const ValueBlock block = block_of<true>(task, i);
        for (int t = 0; t < kChunkLanes; ++t)
            task.turned[block.index(t)] = cached_value<type>(task.keys, int64_t{i} * kChunkLanes + t);
    }
}

// Handles the columns that do not fill a register, and l if there are no others.
template <CachedFloat type, bool turned>
void add_last_values(const ChunkTask& task, int query, int column, int from, int to) {
    const float* scores = task.scores + int64_t{query} * kChunkLanes;
    float* o = task.o + int64_t{query} * task.value_width;
    if (column == 0) {
        for (int t = from; t < to; ++t) task.l[query] = task.l[query] + scores[t];
    }
    for (int i = column; i < task.value_width; ++i) {
        const ValueBlock block = block_of<turned>(task, i);
        float sum = o[i];
        for (int t = from; t < to; ++t) {
            sum = __builtin_fmaf(scores[t], cached_value<type>(task.values, block.index(t)), sum);
        }
        o[i] = sum;
    }
}

// Handles positions [from, to), which all kQueries queries see.
template <CachedFloat type, bool turned, int kQueries>
void add_positions(const ChunkTask& task, int first, int from, int to) {
    if (from >= to) return;
    int column = 0;
    for (; column + kBlockLanes <= task.value_width; column += kBlockLanes) {
        if (column == 0) {
            add_values<type, turned, kQueries, kRegisters, true>(task, first, column, from, to);
        } else {
            add_values<type, turned, kQueries, kRegisters, false>(task, first, column, from, to);
        }
    }
    for (; column + kLanes <= task.value_width; column += kLanes) {
        if (column == 0) {
            add_values<type, turned, kQueries, 1, true>(task, first, column, from, to);
        } else {
            add_values<type, turned, kQueries, 1, false>(task, first, column, from, to);
        }
    }
    if (column < task.value_width) {
        for (int q = 0; q < kQueries; ++q) add_last_values<type, turned>(task, first + q, column, from, to);
    }
}

template <CachedFloat type, bool turned, int kQueries>
void chunk_of(const ChunkTask& task, int first) {
    constexpr CachedFloat value_type = turned ? CachedFloat::f32 : type;
    score_queries<type, kQueries>(task, first);
    int common_first = 0, common_last = kChunkLanes;  // the positions that all of them see
    exponentials_of<kQueries>(task, first);
    for (int q = first; q < first + kQueries; ++q) {
        task.l[q] = 0;
        for (int i = 0; i < task.value_width; ++i) task.o[int64_t{q} * task.value_width + i] = 0;
        if (task.visible[q].first > common_first) common_first = task.visible[q].first;
        if (task.visible[q].last < common_last) common_last = task.visible[q].last;
    }
    if (common_first > common_last) common_last = common_first;
    for (int q = first; q < first + kQueries; ++q) {
        const int last = task.visible[q].last < common_first ? task.visible[q].last : common_first;
        add_positions<value_type, turned, 1>(task, q, task.visible[q].first, last);
    }
    add_positions<value_type, turned, kQueries>(task, first, common_first, common_last);
    for (int q = first; q < first + kQueries; ++q) {
        const int start = task.visible[q].first > common_last ? task.visible[q].first : common_last;
        add_positions<value_type, turned, 1>(task, q, start, task.visible[q].last);
    }
}

// The queries from `query` on.
template <CachedFloat type, bool turned>
void chunk_of_queries(const ChunkTask& task, int query = 0) {
    for (; query + kAttentionQueries <= task.queries; query += kAttentionQueries) {
        chunk_of<type, turned, kAttentionQueries>(task, query);
    }
    if constexpr (kAttentionQueries == 4) {
        if (query + 2 <= task.queries) {
            chunk_of<type, turned, 2>(task, query);
            query += 2;
        }
    }
    if (query < task.queries) chunk_of<type, turned, 1>(task, query);
}

template <CachedFloat type>
void chunk_of_type(const ChunkTask& task) {
    if (!task.values_in_keys) return chunk_of_queries<type, false>(task);
    turn_values<type>(task);
    ChunkTask with_values = task;
    with_values.values = reinterpret_cast<const std::byte*>(task.turned);
    with_values.next_values = nullptr;
    // Many queries share the page, so more of them are computed together than else.
    constexpr int kTogether = kAttentionQueries == 4 ? 6 : kAttentionQueries;
    int query = 0;
    for (; query + kTogether <= task.queries; query += kTogether) {
        chunk_of<type, true, kTogether>(with_values, query);
    }
    chunk_of_queries<type, true>(with_values, query);
}

void chunk(const ChunkTask& task) {
    switch (task.type) {
        case CachedFloat::f16:
            return chunk_of_type<CachedFloat::f16>(task);
        case CachedFloat::bf16:
            return chunk_of_type<CachedFloat::bf16>(task);
        case CachedFloat::f32:
            return chunk_of_type<CachedFloat::f32>(task);
    }
}

// The factors are computed with queries as lanes, so that the exponentials of a tile do not wait for each other;
// afterwards the columns of a query are the lanes.
void merge(const MergeTask& task) {
    for (int64_t first = 0; first < task.queries; first += kLanes) {
        const int64_t queries = task.queries - first < kLanes ? task.queries - first : kLanes;
        alignas(64) float old_scales[kLanes], new_scales[kLanes];
        const Floats m = load_first(task.m + first, queries), next_m = load_first(task.next_m + first, queries);
        const Floats largest = larger(next_m, m);
        const Floats a = exp_lanes(subtract(m, largest)), b = exp_lanes(subtract(next_m, largest));
        const Floats l = load_first(task.l + first, queries), next_l = load_first(task.next_l + first, queries);
        store_first(task.m + first, largest, queries);
        store_first(task.l + first, fma(l, a, multiply(next_l, b)), queries);
        store(old_scales, a);
        store(new_scales, b);
        for (int64_t q = 0; q < queries; ++q) {
            float* o = task.o + (first + q) * task.value_width;
            const float* next_o = task.next_o + (first + q) * task.value_width;
            const Floats old_scale = broadcast(old_scales[q]), new_scale = broadcast(new_scales[q]);
            int64_t i = 0;
            for (; i + kLanes <= task.value_width; i += kLanes) {
                store(o + i, fma(load(o + i), old_scale, multiply(load(next_o + i), new_scale)));
            }
            for (; i < task.value_width; ++i) {
                o[i] = __builtin_fmaf(o[i], old_scales[q], next_o[i] * new_scales[q]);
            }
        }
    }
}

void finish(float l, const float* o, int64_t width, float* out) {
    const Floats divisor = broadcast(l);
    int64_t i = 0;
    for (; i + kLanes <= width; i += kLanes) store(out + i, divide(load(o + i), divisor));
    for (; i < width; ++i) out[i] = o[i] / l;
}

constexpr AttentionKernels make_attention_kernels(std::string_view name, Isa isa) {
    AttentionKernels kernels;
    kernels.name = name;
    kernels.isa = isa;
    kernels.chunk = chunk;
    kernels.merge = merge;
    kernels.finish = finish;
    return kernels;
}

}  // namespace
}  // namespace invar
