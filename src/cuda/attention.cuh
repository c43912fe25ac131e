// Keys, values and attention over the paged cache, in the fixed chunks of 64 positions of the law
// (arithmetic/attention.h, docs/arithmetic.md section 5). A block takes up to 8 queries of one key head that belong to
// one sequence. With few queries the chunks of a sequence go to different blocks, which leave (m, l, o) of every chunk
// for a second kernel to merge in order; with many, a block walks its chunks itself. Both run the same code for a
// chunk, so the split never shows.
#pragma once

#include "arithmetic/attention.h"
#include "cuda/row_kernels.cuh"

namespace invar::cuda {

inline constexpr int kQueriesOfBlock = 8;
inline constexpr int kMostHeadWidth = 256;

// Where a layer's keys and values are: page p, head h at p * page_bytes + keys_at + h * key_head_bytes. Keys
// [key_width][64], values [64][value_width] (ops/kv_cache.h).
struct CacheLayer {
    Global<uint8_t> memory;
    int64_t page_bytes = 0, keys_at = 0, values_at = 0, key_head_bytes = 0, value_head_bytes = 0;
    int kv_heads = 0, key_width = 0, value_width = 0, window = 0;
};

// The rows of a pass: what a Batch says, and each sequence's pages.
struct BatchRows {
    Global<const int32_t> tokens, sequences, positions;  // [rows]
    Global<const int32_t> pages;                         // [sequences][pages_of_sequence]
    int64_t pages_of_sequence = 0;

    SIMT_DEVICE int64_t page(int64_t row, int64_t chunk) const {
        const int32_t sequence = sequences[row];
        return pages[sequence * pages_of_sequence + chunk];
    }
};

// Elements of the cache.
template <CacheType kType>
SIMT_DEVICE float load_cached(Global<const uint8_t> place, int64_t i) {
    if constexpr (kType == CacheType::f32) return simt::view<const float>(place)[i];
    const uint16_t bits = simt::view<const uint16_t>(place)[i];
    return kType == CacheType::f16 ? simt::f16_to_float(bits) : simt::as_float(static_cast<uint32_t>(bits) << 16);
}
template <CacheType kType>
SIMT_DEVICE float store_cached(Global<uint8_t> place, int64_t i, float value) {
    if constexpr (kType == CacheType::f32) {
        simt::view<float>(place)[i] = value;
    } else {
        const uint16_t bits = kType == CacheType::f16 ? simt::float_to_f16(value) : f32_to_bf16(value);
        simt::view<uint16_t>(place)[i] = bits;
    }
    return load_cached<kType>(place, i);
}

// Grid: (kv_heads, rows), 64 threads.
struct StoreArgs {
    CacheLayer cache;
    BatchRows batch;
    Rows keys, values;
    Inspector key_inspector, value_inspector;
};

template <CacheType kType>
SIMT_KERNEL(64)
store_kv_kernel(StoreArgs args) {
    const CacheLayer& cache = args.cache;
    const int64_t head = simt::block_index(), row = simt::block_index_y();
    const int32_t position = args.batch.positions[row];
    const int64_t page = args.batch.page(row, position / kAttentionChunk), lane = position % kAttentionChunk;
    const auto start = cache.memory + page * cache.page_bytes;
    const auto keys = start + (cache.keys_at + head * cache.key_head_bytes);
    const auto values = start + (cache.values_at + head * cache.value_head_bytes);
    for (int i = simt::thread_index(); i < cache.key_width; i += 64) {
        const int64_t element = head * cache.key_width + i;
        const float stored = store_cached<kType>(keys, i * kAttentionChunk + lane, args.keys.row(row)[element]);
        inspect(args.key_inspector, row, element, stored);
    }
    for (int i = simt::thread_index(); i < cache.value_width; i += 64) {
        const int64_t element = head * cache.value_width + i;
        const float stored = store_cached<kType>(values, lane * cache.value_width + i, args.values.row(row)[element]);
        inspect(args.value_inspector, row, element, stored);
    }
}

struct AttentionArgs {
    CacheLayer cache;
    BatchRows batch;
    Rows queries, out;
    int heads = 0;
    float scale = 0, softcap = 0;
    Global<const int32_t> tile_first, tile_rows;  // [tiles]: rows of one sequence that follow each other
    int rows_of_tile = 1;                         // at most; rows_of_tile * heads of a key head <= 8, or 1
    // Chunks split over blocks: [rows][heads][chunks] results, merged by merge_kernel. Null: a block walks all chunks.
    Global<float> chunk_m, chunk_l, chunk_o;
    int64_t chunks = 0;
    Inspector inspector;
};

// A block's queries: query q is row first_row + q / group_part, head first_head + q % group_part.
struct QueryTile {
    int64_t first_row;
    int count, heads_of_row, first_head, kv_head;

    SIMT_DEVICE int64_t row(int q) const { return first_row + q / heads_of_row; }
    SIMT_DEVICE int head(int q) const { return first_head + q % heads_of_row; }
};

// grid.y = kv_heads * parts of the heads that share one.
SIMT_DEVICE QueryTile query_tile(const AttentionArgs& args) {
    const int group = args.heads / args.cache.kv_heads;
    const int of_part = group < kQueriesOfBlock ? group : kQueriesOfBlock;
    const int parts = (group + of_part - 1) / of_part;
    const int part = simt::block_index_y() % parts;
    QueryTile tile{};
    tile.kv_head = simt::block_index_y() / parts;
    tile.first_row = args.tile_first[simt::block_index()];
    tile.heads_of_row = group - part * of_part < of_part ? group - part * of_part : of_part;
    tile.first_head = tile.kv_head * group + part * of_part;
    tile.count = args.tile_rows[simt::block_index()] * tile.heads_of_row;
    return tile;
}

struct VisibleRange {
    int64_t first, last;  // positions [first, last)
};
SIMT_DEVICE VisibleRange visible(const AttentionArgs& args, int64_t row) {
    const int64_t position = static_cast<int32_t>(args.batch.positions[row]);
    const int64_t start = position + 1 - args.cache.window;
    return {args.cache.window > 0 && start > 0 ? start : 0, position + 1};
}
// Positions of the chunk that the row sees, from its start: [first, last), empty if first >= last.
SIMT_DEVICE VisibleRange visible_of_chunk(const AttentionArgs& args, int64_t row, int64_t chunk) {
    const VisibleRange all = visible(args, row);
    const int64_t start = chunk * kAttentionChunk;
    const int64_t last = all.last - start;
    return {all.first > start ? all.first - start : 0, last < kAttentionChunk ? last : kAttentionChunk};
}

struct AttentionShared {
    simt::Shared<float> query;  // [8][kMostHeadWidth]
    simt::Shared<float> score;  // [8][64]: scores, then exp(score - m)
    simt::Shared<float> m, l;   // [8]: of the chunk
};

template <int kThreads>
SIMT_DEVICE void load_queries(const AttentionArgs& args, const QueryTile& tile, const AttentionShared& shared) {
    const int width = args.cache.key_width;
    for (int i = simt::thread_index(); i < tile.count * width; i += kThreads) {
        const int q = i / width, element = i % width;
        shared.query[q * kMostHeadWidth + element] =
            args.queries.row(tile.row(q))[int64_t{tile.head(q)} * width + element];
    }
    simt::sync_block();
}

// law::attention_score of every query and position of the chunk. A thread has one position and every kParts-th query.
template <CacheType kType, int kThreads>
SIMT_DEVICE void scores_of_chunk(const AttentionArgs& args, const QueryTile& tile, Global<const uint8_t> keys,
                                 const AttentionShared& shared) {
    constexpr int kParts = kThreads / kAttentionChunk, kQueries = kQueriesOfBlock / kParts;
    const int t = simt::thread_index() % kAttentionChunk, part = simt::thread_index() / kAttentionChunk;
    float dot[kQueries] = {};
    for (int i = 0; i < args.cache.key_width; ++i) {
        const float key = load_cached<kType>(keys, i * kAttentionChunk + t);
        SIMT_UNROLL
        for (int n = 0; n < kQueries; ++n) {
            const int q = part + n * kParts;
            if (q < tile.count) dot[n] = simt::fma(shared.query[q * kMostHeadWidth + i], key, dot[n]);
        }
    }
    SIMT_UNROLL
    for (int n = 0; n < kQueries; ++n) {
        const int q = part + n * kParts;
        if (q >= tile.count) continue;
        float score = dot[n] * args.scale;
        if (args.softcap != 0.0f) score = args.softcap * law::steps::tanh(simt::divide(score, args.softcap));
        shared.score[q * kAttentionChunk + t] = score;
    }
    simt::sync_block();
}

// m and l of every query, and exp(score - m) in place of the scores. A warp has a query at a time, a lane two
// positions.
template <int kThreads>
SIMT_DEVICE void exponentials_of_chunk(const AttentionArgs& args, const QueryTile& tile, int64_t chunk,
                                       const AttentionShared& shared) {
    const int lane = simt::lane_index();
    for (int q = simt::warp_index(); q < tile.count; q += kThreads / simt::kWarp) {
        const VisibleRange seen = visible_of_chunk(args, tile.row(q), chunk);
        if (seen.first >= seen.last) continue;  // the same for all lanes
        const auto scores = shared.score + q * kAttentionChunk;
        const float first_score = scores[seen.first];
        float m = first_score;
        for (int t = lane; t < kAttentionChunk; t += simt::kWarp) {
            const float score = scores[t];
            if (t >= seen.first && t < seen.last) m = score > m ? score : m;
        }
        for (int bits = 16; bits > 0; bits /= 2) {
            const float other = simt::shuffle_xor(m, bits);
            m = other > m ? other : m;
        }
        simt::sync_warp();
        for (int t = lane; t < kAttentionChunk; t += simt::kWarp) {
            const float e = law::steps::exp(scores[t] - m);
            scores[t] = e;
        }
        simt::sync_warp();
        if (lane != 0) continue;
        float l = 0.0f;
        for (int64_t t = seen.first; t < seen.last; ++t) l = l + scores[t];
        shared.m[q] = m;
        shared.l[q] = l;
    }
    simt::sync_block();
}

// o of the chunk for one element of the value, every query: positions in rising order.
template <CacheType kType>
SIMT_DEVICE void values_of_chunk(const AttentionArgs& args, const QueryTile& tile, int64_t chunk,
                                 Global<const uint8_t> values, int element, const AttentionShared& shared,
                                 float (&o)[kQueriesOfBlock]) {
    VisibleRange seen[kQueriesOfBlock];
    VisibleRange any{kAttentionChunk, 0};
    SIMT_UNROLL
    for (int q = 0; q < kQueriesOfBlock; ++q) {
        o[q] = 0.0f;
        if (q >= tile.count) continue;
        seen[q] = visible_of_chunk(args, tile.row(q), chunk);
        any.first = seen[q].first < any.first ? seen[q].first : any.first;
        any.last = seen[q].last > any.last ? seen[q].last : any.last;
    }
    for (int64_t t = any.first; t < any.last; ++t) {
        const float value = load_cached<kType>(values, t * args.cache.value_width + element);
        SIMT_UNROLL
        for (int q = 0; q < kQueriesOfBlock; ++q) {
            if (q >= tile.count || t < seen[q].first || t >= seen[q].last) continue;
            o[q] = simt::fma(shared.score[q * kAttentionChunk + t], value, o[q]);
        }
    }
}

// law::merge of a chunk into a query's state; the first chunk is the state.
struct MergeState {
    float m = 0, l = 0;
    int started = 0;
};
SIMT_DEVICE void merge_chunk(MergeState& state, float& o, float m, float l, float o_chunk) {
    if (state.started == 0) {
        state = {m, l, 1};
        o = o_chunk;
        return;
    }
    const float larger = m > state.m ? m : state.m;
    const float a = law::steps::exp(state.m - larger), b = law::steps::exp(m - larger);
    state.m = larger;
    state.l = simt::fma(state.l, a, l * b);
    o = simt::fma(o, a, o_chunk * b);
}

// Grid: (tiles, kv_heads * parts, chunks or 1). kThreads >= value_width.
template <CacheType kType, int kThreads>
SIMT_KERNEL(kThreads)
attention_kernel(AttentionArgs args) {
    SIMT_SHARED(float, query, kQueriesOfBlock* kMostHeadWidth);
    SIMT_SHARED(float, score, kQueriesOfBlock* kAttentionChunk);
    SIMT_SHARED(float, m, kQueriesOfBlock);
    SIMT_SHARED(float, l, kQueriesOfBlock);
    const AttentionShared shared{query, score, m, l};
    const CacheLayer& cache = args.cache;
    const QueryTile tile = query_tile(args);
    if (tile.count <= 0) return;
    const bool split = !simt::is_null(args.chunk_m);
    // Positions rise with the rows of a tile, so its first row sees the earliest and its last row the latest chunk.
    int64_t first_chunk = visible(args, tile.row(0)).first / kAttentionChunk;
    int64_t last_chunk = (visible(args, tile.row(tile.count - 1)).last - 1) / kAttentionChunk;
    if (split) {
        const int64_t mine = simt::block_index_z();
        if (mine < first_chunk || mine > last_chunk) return;
        first_chunk = last_chunk = mine;
    }
    load_queries<kThreads>(args, tile, shared);
    const int element = simt::thread_index();
    const bool has_element = element < cache.value_width;
    MergeState state[kQueriesOfBlock];
    float o[kQueriesOfBlock] = {};
    for (int64_t chunk = first_chunk; chunk <= last_chunk; ++chunk) {
        const auto page = cache.memory + args.batch.page(tile.first_row, chunk) * cache.page_bytes;
        scores_of_chunk<kType, kThreads>(args, tile, page + (cache.keys_at + tile.kv_head * cache.key_head_bytes),
                                         shared);
        exponentials_of_chunk<kThreads>(args, tile, chunk, shared);
        float of_chunk[kQueriesOfBlock];
        if (has_element)
            values_of_chunk<kType>(args, tile, chunk, page + (cache.values_at + tile.kv_head * cache.value_head_bytes),
                                   element, shared, of_chunk);
        SIMT_UNROLL
        for (int q = 0; q < kQueriesOfBlock; ++q) {
            if (q >= tile.count || !has_element) continue;
            const VisibleRange seen = visible_of_chunk(args, tile.row(q), chunk);
            if (seen.first >= seen.last) continue;
            if (!split) {
                merge_chunk(state[q], o[q], shared.m[q], shared.l[q], of_chunk[q]);
                continue;
            }
            const int64_t place = (tile.row(q) * args.heads + tile.head(q)) * args.chunks + chunk;
            args.chunk_o[place * cache.value_width + element] = of_chunk[q];
            if (element == 0) {
                args.chunk_m[place] = shared.m[q];
                args.chunk_l[place] = shared.l[q];
            }
        }
        simt::sync_block();
    }
    if (split || !has_element) return;
    for (int q = 0; q < tile.count; ++q) {
        const int64_t at = int64_t{tile.head(q)} * cache.value_width + element;
        const float result = simt::divide(o[q], state[q].l);
        args.out.row(tile.row(q))[at] = result;
        inspect(args.inspector, tile.row(q), at, result);
    }
}

// Merges the chunks of a query in rising order. Grid: (heads, rows), kThreads >= value_width.
template <int kThreads>
SIMT_KERNEL(kThreads)
attention_merge_kernel(AttentionArgs args) {
    const int head = simt::block_index(), element = simt::thread_index();
    const int64_t row = simt::block_index_y();
    if (element >= args.cache.value_width) return;
    const VisibleRange seen = visible(args, row);
    MergeState state;
    float o = 0.0f;
    for (int64_t chunk = seen.first / kAttentionChunk; chunk <= (seen.last - 1) / kAttentionChunk; ++chunk) {
        const int64_t place = (row * args.heads + head) * args.chunks + chunk;
        const float m = args.chunk_m[place], l = args.chunk_l[place];
        merge_chunk(state, o, m, l, args.chunk_o[place * args.cache.value_width + element]);
    }
    const int64_t at = int64_t{head} * args.cache.value_width + element;
    const float result = simt::divide(o, state.l);
    args.out.row(row)[at] = result;
    inspect(args.inspector, row, at, result);
}

}  // namespace invar::cuda
