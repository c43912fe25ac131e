// Attention where a value is the first elements of its key (latent attention: one key head, keys of 576 elements,
// values of 512, up to 128 query heads). It equals law::attention_head like attention.cuh and shares its queries,
// scores and merges. Keys are too wide for a ring in shared memory, so they are read from the cache: for scores 64
// positions of an element side by side, for values 16 bytes of positions of a thread's own elements.
#pragma once

#include "cuda/attention.cuh"

namespace invar::cuda {

inline constexpr int kMostLatentKey = 576, kMostLatentValue = 512;
inline constexpr int kLatentThreads = 256, kLatentQueries = 8;
inline constexpr int kLatentElements = kMostLatentValue / kLatentThreads;  // of the values, for each thread

template <CacheType kType>
struct LatentBlock : QueryBlock<kLatentThreads, kLatentQueries> {
    static constexpr int kElementBytes = kType == CacheType::f32 ? 4 : 2;
    static constexpr int kLoaded = 16 / kElementBytes;  // positions of a load

    // law::attention_score of a position and kOwn queries.
    SIMT_DEVICE void add_keys(Global<const uint8_t> keys, int key_width, float (&dot)[kOwn]) const {
        const int t = simt::thread_index() % kChunk, first = simt::thread_index() / kChunk * kOwn;
        SIMT_UNROLL_BY(8)
        for (int i = 0; i < key_width; ++i) {
            const float key = load_cached<kType>(keys, i * kChunk + t);
            float of_query[kOwn];
            load_floats(query + (i * kStride + first), of_query);
            SIMT_UNROLL
            for (int n = 0; n < kOwn; ++n) dot[n] = simt::fma(of_query[n], key, dot[n]);
        }
    }
    SIMT_DEVICE static float loaded(const Words4& words, int i) {
        if constexpr (kType == CacheType::f32) return simt::as_float(words.w[i]);
        const uint32_t bits = words.w[i / 2] >> (16 * (i % 2)) & 0xFFFFu;
        return kType == CacheType::f16 ? simt::f16_to_float(static_cast<uint16_t>(bits)) : simt::as_float(bits << 16);
    }
    // o of the chunk for one element of the value, every query, positions in rising order.
    SIMT_DEVICE void add_values(Global<const uint8_t> keys, int place, uint32_t all, float (&o)[kLatentQueries]) const {
        const auto row = simt::view<const Words4>(keys + int64_t{place} * kChunk * kElementBytes);
        for (int load = 0; load < kChunk / kLoaded; ++load) {
            const Words4 words = row[load];
            SIMT_UNROLL
            for (int i = 0; i < kLoaded; ++i) {
                const int position = load * kLoaded + i;
                const uint32_t seeing = mask[position];
                if (seeing == 0) continue;
                const float value = loaded(words, i);
                float e[kLatentQueries];
                load_floats(score + position * kStride, e);
                SIMT_UNROLL
                for (int q = 0; q < kLatentQueries; ++q)
                    if (seeing == all || (seeing >> q & 1) != 0) o[q] = simt::fma(e[q], value, o[q]);
            }
        }
    }
};

// Grid: (tiles, kv_heads * parts, chunks or 1), as attention_kernel.
template <CacheType kType>
SIMT_KERNEL(kLatentThreads)
latent_attention_kernel(AttentionArgs args) {
    using Block = LatentBlock<kType>;
    SIMT_SHARED(float, query, kMostLatentKey* Block::kStride);
    SIMT_SHARED(float, score, Block::kChunk* Block::kStride);
    SIMT_SHARED(uint32_t, mask, Block::kChunk);
    SIMT_SHARED(float, of_queries, 4 * kLatentQueries);
    SIMT_SHARED(int32_t, seen, 3 * kLatentQueries);
    const CacheLayer& cache = args.cache;
    const QueryTile tile = query_tile<kLatentQueries>(args);
    if (tile.count <= 0) return;
    const auto [first_chunk, last_chunk] = chunks_of_block(args, tile);
    if (first_chunk > last_chunk) return;
    Block block;
    block.place(query, score, mask, of_queries, seen);
    block.load_queries(args, tile);

    const int thread = simt::thread_index();
    const uint32_t all = (1u << tile.count) - 1;
    QueryState state;
    if (thread < tile.count) state.visible = visible(args, tile.row(thread));
    float o[kLatentElements][kLatentQueries] = {};
    simt::sync_block();
    for (int64_t chunk = first_chunk; chunk <= last_chunk; ++chunk) {
        const Global<const uint8_t> keys = cache.memory + (args.batch.page(tile.first_row, chunk) * cache.page_bytes +
                                                           cache.keys_at + tile.kv_head * cache.key_head_bytes);
        float dot[Block::kOwn] = {};
        block.add_keys(keys, cache.key_width, dot);
        block.store_scores(args, dot);
        if (thread < tile.count) {
            const Visible seen_now = part_of_chunk(state.visible, chunk);
            block.seen_first[thread] = static_cast<int32_t>(seen_now.first);
            block.seen_last[thread] = static_cast<int32_t>(seen_now.last);
        }
        simt::sync_block();
        block.exponentials(tile);
        simt::sync_block();
        if (thread < tile.count) sum_and_merge(args, block, tile, chunk, thread, state);
        float of_chunk[kLatentElements][kLatentQueries] = {};
        SIMT_UNROLL
        for (int i = 0; i < kLatentElements; ++i) {
            const int element = thread + i * kLatentThreads;
            if (element < cache.value_width) block.add_values(keys, element, all, of_chunk[i]);
        }
        simt::sync_block();
        SIMT_UNROLL
        for (int i = 0; i < kLatentElements; ++i) {
            const int element = thread + i * kLatentThreads;
            if (element < cache.value_width) take_values(args, block, tile, chunk, element, of_chunk[i], o[i]);
        }
    }
    if (!simt::is_null(args.chunk_m)) return;
    if (!simt::is_null(args.sinks)) {
        simt::sync_block();
        if (thread < tile.count) merge_sink(args, block, tile, thread, state);
        simt::sync_block();
    }
    SIMT_UNROLL
    for (int i = 0; i < kLatentElements; ++i) {
        const int element = thread + i * kLatentThreads;
        if (element < cache.value_width) finish_values(args, block, tile, element, o[i]);
    }
}

}  // namespace invar::cuda
