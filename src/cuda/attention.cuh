// Keys, values and attention over the paged cache, in the fixed chunks of 64 positions of the law
// (arithmetic/attention.h; docs/arithmetic.md, section 5). A block takes up to kQueries queries of one key head that
// belong to one sequence: 4 or 8 if there are few, 16 or 32 in prompts, always 8 where a head is wider than 256. Keys
// and values stream through shared memory in pieces of 8 KiB; one piece is copied while those before it are used. With
// few queries the chunks of a sequence go to different blocks, which store (m, l, o) of every chunk for a second kernel
// to merge in order. With many, a block walks its chunks itself. Both run the same code for a chunk, so the split never
// shows in the bits. Values that lie in their keys have a kernel of their own (latent_attention.cuh).
#pragma once

#include "arithmetic/attention.h"
#include "cuda/row_kernels.cuh"

namespace invar::cuda {

inline constexpr int kMostHeadWidth = 512;
inline constexpr int kPieceBytes = 8192;

// The place of a layer's keys and values: page p, head h is at p * page_bytes + keys_at + h * key_head_bytes. Keys are
// [key_width][64], values [64][value_width] (state/sequence_state.h).
struct CacheLayer {
    Global<uint8_t> memory;
    int64_t page_bytes = 0, keys_at = 0, values_at = 0, key_head_bytes = 0, value_head_bytes = 0;
    int kv_heads = 0, key_width = 0, value_width = 0, window = 0;
    Reach reach = Reach::causal;
    int values_in_keys = 0;  // 1: the values are the first value_width rows of the keys and are not stored
};

// The rows of a pass, as in its Batch, and each sequence's pages, or its slot in place of page 0.
struct BatchRows {
    Global<const int32_t> tokens, sequences, positions;  // [rows]
    Global<const int32_t> ends;                          // [rows], where their sequences end (ops/visible_rows.h)
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
    if (cache.values_in_keys != 0) return;
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
    Global<const float> sinks;                    // [heads], or empty
    Global<const int32_t> tile_first, tile_rows;  // [tiles]: consecutive rows of one sequence
    // Chunks split over blocks: [rows][heads][chunks] results that merge_kernel merges. Null: a block walks all chunks.
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
template <int kQueries>
SIMT_DEVICE QueryTile query_tile(const AttentionArgs& args) {
    const int group = args.heads / args.cache.kv_heads;
    const int of_part = group < kQueries ? group : kQueries;
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

using Visible = VisibleRange<int32_t>;
SIMT_DEVICE Visible visible(const AttentionArgs& args, int64_t row) {
    const CacheLayer& cache = args.cache;
    const int32_t position = args.batch.positions[row];
    const int32_t end = cache.reach == Reach::both_ways ? static_cast<int32_t>(args.batch.ends[row]) : 0;
    return law::visible_range<int32_t>(cache.reach, cache.window, position, end);
}
// The part of the chunk that is visible, counted from its start: [first, last), empty if first >= last.
SIMT_DEVICE Visible part_of_chunk(const Visible& all, int64_t chunk) {
    const int32_t start = static_cast<int32_t>(chunk * kAttentionChunk), last = all.last - start;
    return {all.first > start ? all.first - start : 0, last < kAttentionChunk ? last : kAttentionChunk};
}

// The queries of a block in shared memory, their scores of a chunk and what the threads tell each other about them.
// Rows of queries and scores are four floats longer than needed, which spreads them over the banks.
template <int kThreads, int kQueries>
struct QueryBlock {
    static constexpr int kChunk = static_cast<int>(kAttentionChunk);
    static constexpr int kParts = kThreads / kChunk, kOwn = kQueries / kParts;  // queries of a thread's scores
    static constexpr int kStride = kQueries + 4;

    simt::Shared<float> query;       // [width][kStride]
    simt::Shared<float> score;       // [64][kStride]: scores, then exp(score - m)
    simt::Shared<uint32_t> mask;     // [64]: the queries that see the position
    simt::Shared<float> m, l, a, b;  // [kQueries]: the chunk's m, the state's l, factors of the merge
    simt::Shared<int32_t> seen_first, seen_last,
        merge;  // [kQueries]; merge: 0 unseen, 1 the first chunk, 2 a later one

    // of_queries: [4 * kQueries]; seen: [3 * kQueries]
    SIMT_DEVICE void place(simt::Shared<float> queries, simt::Shared<float> scores, simt::Shared<uint32_t> masks,
                           simt::Shared<float> of_queries, simt::Shared<int32_t> seen) {
        query = queries;
        score = scores;
        mask = masks;
        m = of_queries;
        l = of_queries + kQueries;
        a = of_queries + 2 * kQueries;
        b = of_queries + 3 * kQueries;
        seen_first = seen;
        seen_last = seen + kQueries;
        merge = seen + 2 * kQueries;
    }

    // ---- scores

    SIMT_DEVICE void load_queries(const AttentionArgs& args, const QueryTile& tile) {
        const int width = args.cache.key_width;
        for (int i = simt::thread_index(); i < kQueries * width; i += kThreads) {
            const int q = i / width, place = i % width;
            float value = 0.0f;  // for a query that does not exist
            if (q < tile.count) value = args.queries.row(tile.row(q))[int64_t{tile.head(q)} * width + place];
            query[place * kStride + q] = value;
        }
    }
    template <int kCount>
    SIMT_DEVICE static void load_floats(simt::Shared<float> from, float (&to)[kCount]) {
        if constexpr (kCount % 4 == 0) {
            SIMT_UNROLL
            for (int i = 0; i < kCount / 4; ++i) {
                const simt::Floats4 four = simt::view<simt::Floats4>(from)[i];
                for (int j = 0; j < 4; ++j) to[4 * i + j] = four.f[j];
            }
        } else if constexpr (kCount == 1) {
            to[0] = from[0];
        } else {
            static_assert(kCount == 2);
            const Words2 two = simt::view<Words2>(from)[0];
            for (int j = 0; j < 2; ++j) to[j] = simt::as_float(two.w[j]);
        }
    }
    SIMT_DEVICE void store_scores(const AttentionArgs& args, const float (&dot)[kOwn]) const {
        const int t = simt::thread_index() % kChunk, first = simt::thread_index() / kChunk * kOwn;
        SIMT_UNROLL
        for (int n = 0; n < kOwn; ++n) {
            float s = dot[n] * args.scale;
            if (args.softcap != 0.0f) s = args.softcap * law::steps::tanh(simt::divide(s, args.softcap));
            score[t * kStride + first + n] = s;
        }
    }

    // ---- exponentials: a warp handles one query at a time, a lane two positions. The order of a maximum does not
    // matter: if a score is NaN, l and o become NaN with any maximum.
    SIMT_DEVICE void exponentials(const QueryTile& tile) const {
        const int lane = simt::lane_index(), thread = simt::thread_index();
        if (thread < kChunk) {
            uint32_t seeing = 0;
            for (int q = 0; q < tile.count; ++q) {
                const int32_t first = seen_first[q], last = seen_last[q];
                if (first >= last || (thread >= first && thread < last)) seeing |= 1u << q;
            }
            mask[thread] = seeing;
        }
        for (int q = simt::warp_index(); q < tile.count; q += kThreads / simt::kWarp) {
            const int32_t first = seen_first[q], last = seen_last[q];
            if (first >= last) continue;  // the same for all lanes
            const float s[2] = {score[lane * kStride + q], score[(lane + simt::kWarp) * kStride + q]};
            float largest = simt::as_float(0xFF800000u);  // -infinity
            for (int i = 0; i < 2; ++i) {
                const int t = lane + i * simt::kWarp;
                if (t >= first && t < last) largest = s[i] > largest ? s[i] : largest;
            }
            for (int bits = 16; bits > 0; bits /= 2) {
                const float other = simt::shuffle_xor(largest, bits);
                largest = other > largest ? other : largest;
            }
            for (int i = 0; i < 2; ++i) score[(lane + i * simt::kWarp) * kStride + q] = law::steps::exp(s[i] - largest);
            if (lane == 0) m[q] = largest;
        }
    }
};

// A block whose keys and values stream through shared memory.
template <CacheType kType, int kThreads, int kQueries>
struct AttentionBlock : QueryBlock<kThreads, kQueries> {
    using Base = QueryBlock<kThreads, kQueries>;
    using Base::kChunk, Base::kOwn, Base::kStride;
    using Base::query, Base::score, Base::mask;
    static constexpr int kElementBytes = kType == CacheType::f32 ? 4 : 2;
    static constexpr int kSlots = kQueries <= 8 && kThreads <= 256 ? 4 : 2;  // pieces in flight
    static constexpr int kWidth = kThreads;                                  // largest width of a head
    static constexpr int kKeyRows = kPieceBytes / (kChunk * kElementBytes);  // elements in a piece of keys
    static constexpr int kValueRows = kPieceBytes / (kThreads * kElementBytes), kValuePieces = kChunk / kValueRows;

    simt::Shared<Words4> ring;  // [kSlots][kPieceBytes / 16]

    // ---- the stream of pieces: keys, then values of each chunk

    int key_pieces = 0;
    int64_t last_chunk = 0, issued_chunk = 0;
    int issued_piece = 0, issued_slot = 0;

    SIMT_DEVICE void issue(const AttentionArgs& args, const QueryTile& tile) {
        if (issued_chunk <= last_chunk) {
            const CacheLayer& cache = args.cache;
            const auto page = cache.memory + args.batch.page(tile.first_row, issued_chunk) * cache.page_bytes;
            const int value_piece = issued_piece - key_pieces;
            const int piece_of_values = kValueRows * cache.value_width * kElementBytes;
            const int64_t from_keys = cache.keys_at + tile.kv_head * cache.key_head_bytes + issued_piece * kPieceBytes;
            const int64_t from_values =
                cache.values_at + tile.kv_head * cache.value_head_bytes + value_piece * piece_of_values;
            const int left = cache.key_width * kChunk * kElementBytes - issued_piece * kPieceBytes;
            const int bytes = value_piece >= 0 ? piece_of_values : left < kPieceBytes ? left : kPieceBytes;
            const auto from = simt::view<const Words4>(page + (value_piece >= 0 ? from_values : from_keys));
            for (int i = simt::thread_index(); i < bytes / 16; i += kThreads)
                simt::copy_async(ring + (issued_slot * (kPieceBytes / 16) + i), from + i);
            if (++issued_piece == key_pieces + kValuePieces) {
                issued_piece = 0;
                ++issued_chunk;
            }
        }
        simt::commit_copies();
        issued_slot = (issued_slot + 1) % kSlots;
    }
    // Waits for the oldest piece, for all threads, and starts the copy of the next one into the place of the one
    // before.
    SIMT_DEVICE void next_piece(const AttentionArgs& args, const QueryTile& tile) {
        simt::wait_for_copies<kSlots - 2>();
        simt::sync_block();
        issue(args, tile);
    }
    SIMT_DEVICE float element(int slot, int i) const {
        const auto piece = ring + slot * (kPieceBytes / 16);
        if constexpr (kType == CacheType::f32) return simt::view<float>(piece)[i];
        const uint16_t bits = simt::view<uint16_t>(piece)[i];
        return kType == CacheType::f16 ? simt::f16_to_float(bits) : simt::as_float(static_cast<uint32_t>(bits) << 16);
    }

    // law::attention_score of a position and kOwn queries, a piece of the keys' elements at a time.
    SIMT_DEVICE void add_keys(int slot, int rows, int first_row, float (&dot)[kOwn]) const {
        const int t = simt::thread_index() % kChunk, first = simt::thread_index() / kChunk * kOwn;
        SIMT_UNROLL_BY(8)
        for (int i = 0; i < rows; ++i) {
            const float key = element(slot, i * kChunk + t);
            float of_query[kOwn];
            Base::load_floats(query + ((first_row + i) * kStride + first), of_query);
            SIMT_UNROLL
            for (int n = 0; n < kOwn; ++n) dot[n] = simt::fma(of_query[n], key, dot[n]);
        }
    }
    // ---- values: o of the chunk for one element, every query, positions in rising order

    SIMT_DEVICE void add_values(int slot, int width, int place, int first_position, uint32_t all,
                                float (&o)[kQueries]) const {
        SIMT_UNROLL_BY(4)
        for (int i = 0; i < kValueRows; ++i) {
            const uint32_t seeing = mask[first_position + i];
            if (seeing == 0) continue;
            const float value = element(slot, i * width + place);
            float e[kQueries];
            Base::load_floats(score + (first_position + i) * kStride, e);
            if (seeing == all) {
                SIMT_UNROLL
                for (int q = 0; q < kQueries; ++q) o[q] = simt::fma(e[q], value, o[q]);
                continue;
            }
            SIMT_UNROLL
            for (int q = 0; q < kQueries; ++q)
                if ((seeing >> q & 1) != 0) o[q] = simt::fma(e[q], value, o[q]);
        }
    }
};

// law::merge of a chunk into a query's state; the first chunk becomes the state. One thread holds the state of a query
// and puts into shared memory what the other threads need of it.
struct QueryState {
    Visible visible;
    float m = 0, l = 0;
    int started = 0;
};

template <class Block>
SIMT_DEVICE void sum_and_merge(const AttentionArgs& args, const Block& block, const QueryTile& tile, int64_t chunk,
                               int q, QueryState& state) {
    const int32_t first = block.seen_first[q], last = block.seen_last[q];
    if (first >= last) {
        block.merge[q] = 0;
        return;
    }
    float l = 0.0f;
    SIMT_UNROLL_BY(8)
    for (int t = first; t < last; ++t) l = l + block.score[t * Block::kStride + q];
    const float m = block.m[q];
    if (!simt::is_null(args.chunk_m)) {
        const int64_t place = (tile.row(q) * args.heads + tile.head(q)) * args.chunks + chunk;
        args.chunk_m[place] = m;
        args.chunk_l[place] = l;
        block.merge[q] = 1;
        return;
    }
    block.merge[q] = state.started == 0 ? 1 : 2;
    if (state.started == 0) {
        state.m = m;
        state.l = l;
        state.started = 1;
    } else {
        const float larger = m > state.m ? m : state.m;
        const float a = law::steps::exp(state.m - larger), b = law::steps::exp(m - larger);
        state.m = larger;
        state.l = simt::fma(state.l, a, l * b);
        block.a[q] = a;
        block.b[q] = b;
    }
    block.l[q] = state.l;
}

// Merges the sink of a query into its state: a chunk of one score whose value is zero.
template <class Block>
SIMT_DEVICE void merge_sink(const AttentionArgs& args, const Block& block, const QueryTile& tile, int q,
                            const QueryState& state) {
    const float sink = args.sinks[tile.head(q)];
    const float larger = sink > state.m ? sink : state.m;
    const float a = law::steps::exp(state.m - larger), b = law::steps::exp(sink - larger);
    block.a[q] = a;
    block.b[q] = b;
    block.l[q] = simt::fma(state.l, a, b);  // the sink's l is 1
}

// Takes one element of the chunk's values, of every query, into the queries' states, or stores it where chunks are
// split over blocks.
template <class Block, int kQueries>
SIMT_DEVICE void take_values(const AttentionArgs& args, const Block& block, const QueryTile& tile, int64_t chunk,
                             int element, const float (&of_chunk)[kQueries], float (&o)[kQueries]) {
    const bool split = !simt::is_null(args.chunk_m);
    SIMT_UNROLL
    for (int q = 0; q < kQueries; ++q) {
        if (q >= tile.count) continue;
        const int32_t how = block.merge[q];
        if (how == 0) continue;
        if (split) {
            const int64_t place = (tile.row(q) * args.heads + tile.head(q)) * args.chunks + chunk;
            args.chunk_o[place * args.cache.value_width + element] = of_chunk[q];
        } else if (how == 1) {
            o[q] = of_chunk[q];
        } else {
            o[q] = simt::fma(o[q], block.a[q], of_chunk[q] * block.b[q]);
        }
    }
}

// The result of one element of every query.
template <class Block, int kQueries>
SIMT_DEVICE void finish_values(const AttentionArgs& args, const Block& block, const QueryTile& tile, int element,
                               float (&o)[kQueries]) {
    SIMT_UNROLL
    for (int q = 0; q < kQueries; ++q) {
        if (q >= tile.count) continue;
        if (!simt::is_null(args.sinks)) o[q] = simt::fma(o[q], block.a[q], 0.0f * block.b[q]);
        const int64_t at = int64_t{tile.head(q)} * args.cache.value_width + element;
        const float result = simt::divide(o[q], block.l[q]);
        args.out.row(tile.row(q))[at] = result;
        inspect(args.inspector, tile.row(q), at, result);
    }
}

// The chunks that a block walks.
struct ChunkRange {
    int64_t first, last;
};
// Positions rise with the rows of a tile, and what they see with them, so its first row sees the earliest and its last
// row the latest chunk. Where chunks are split over blocks, it is one chunk, or none (first > last).
SIMT_DEVICE ChunkRange chunks_of_block(const AttentionArgs& args, const QueryTile& tile) {
    const int64_t first = visible(args, tile.row(0)).first / kAttentionChunk;
    const int64_t last = (visible(args, tile.row(tile.count - 1)).last - 1) / kAttentionChunk;
    if (simt::is_null(args.chunk_m)) return {first, last};
    const int64_t mine = simt::block_index_z();
    if (mine < first || mine > last) return {1, 0};
    return {mine, mine};
}

// Grid: (tiles, kv_heads * parts, chunks or 1). kThreads >= the widths of keys and values.
template <CacheType kType, int kThreads, int kQueries>
SIMT_KERNEL(kThreads)
attention_kernel(AttentionArgs args) {
    using Block = AttentionBlock<kType, kThreads, kQueries>;
    SIMT_SHARED(float, query, Block::kWidth* Block::kStride);
    SIMT_SHARED(float, score, Block::kChunk* Block::kStride);
    SIMT_SHARED(Words4, ring, Block::kSlots * (kPieceBytes / 16));
    SIMT_SHARED(uint32_t, mask, Block::kChunk);
    SIMT_SHARED(float, of_queries, 4 * kQueries);
    SIMT_SHARED(int32_t, seen, 3 * kQueries);
    const CacheLayer& cache = args.cache;
    const QueryTile tile = query_tile<kQueries>(args);
    if (tile.count <= 0) return;
    const auto [first_chunk, last_chunk] = chunks_of_block(args, tile);
    if (first_chunk > last_chunk) return;
    Block block;
    block.place(query, score, mask, of_queries, seen);
    block.ring = ring;
    block.key_pieces = (cache.key_width + Block::kKeyRows - 1) / Block::kKeyRows;
    block.last_chunk = last_chunk;
    block.issued_chunk = first_chunk;
    SIMT_UNROLL
    for (int i = 0; i < Block::kSlots - 1; ++i) block.issue(args, tile);
    block.load_queries(args, tile);

    const int thread = simt::thread_index();
    const bool has_element = thread < cache.value_width;
    const uint32_t all = tile.count == 32 ? 0xFFFFFFFFu : (1u << tile.count) - 1;
    QueryState state;
    if (thread < tile.count) state.visible = visible(args, tile.row(thread));
    float o[kQueries] = {};
    int slot = 0;
    for (int64_t chunk = first_chunk; chunk <= last_chunk; ++chunk) {
        float dot[Block::kOwn] = {};
        for (int piece = 0; piece < block.key_pieces; ++piece) {
            block.next_piece(args, tile);
            const int first_row = piece * Block::kKeyRows, left = cache.key_width - first_row;
            block.add_keys(slot, left < Block::kKeyRows ? left : Block::kKeyRows, first_row, dot);
            slot = (slot + 1) % Block::kSlots;
        }
        block.store_scores(args, dot);
        if (thread < tile.count) {
            const Visible seen_now = part_of_chunk(state.visible, chunk);
            block.seen_first[thread] = static_cast<int32_t>(seen_now.first);
            block.seen_last[thread] = static_cast<int32_t>(seen_now.last);
        }
        simt::sync_block();
        block.exponentials(tile);
        float of_chunk[kQueries] = {};
        SIMT_UNROLL
        for (int piece = 0; piece < Block::kValuePieces; ++piece) {
            block.next_piece(args, tile);
            if (piece == 0 && thread < tile.count) sum_and_merge(args, block, tile, chunk, thread, state);
            if (has_element)
                block.add_values(slot, cache.value_width, thread, piece * Block::kValueRows, all, of_chunk);
            slot = (slot + 1) % Block::kSlots;
        }
        if (has_element) take_values(args, block, tile, chunk, thread, of_chunk, o);
    }
    if (!simt::is_null(args.chunk_m)) return;
    if (!simt::is_null(args.sinks)) {
        simt::sync_block();
        if (thread < tile.count) merge_sink(args, block, tile, thread, state);
        simt::sync_block();
    }
    if (has_element) finish_values(args, block, tile, thread, o);
}

// Merges the chunks of a query in rising order. The lanes of each warp compute the factors of 32 chunks; the maximum
// before a chunk is a prefix maximum, whose order does not matter (see above). Grid: (heads, rows), kThreads >=
// value_width.
template <int kThreads>
SIMT_KERNEL(kThreads)
attention_merge_kernel(AttentionArgs args) {
    const int head = simt::block_index(), element = simt::thread_index(), lane = simt::lane_index();
    const int64_t row = simt::block_index_y();
    const int width = args.cache.value_width;
    const Visible seen = visible(args, row);
    const int64_t start = seen.first / kAttentionChunk, end = (seen.last - 1) / kAttentionChunk;
    const int64_t place = (row * args.heads + head) * args.chunks;
    const bool has_element = element < width;
    float m = args.chunk_m[place + start], l = args.chunk_l[place + start], o = 0.0f;
    if (has_element) o = args.chunk_o[(place + start) * width + element];
    for (int64_t first = start + 1; first <= end; first += simt::kWarp) {
        const int64_t chunk = first + lane;
        float own_m = simt::as_float(0xFF800000u), own_l = 0.0f;  // -infinity changes no maximum
        if (chunk <= end) {
            own_m = args.chunk_m[place + chunk];
            own_l = args.chunk_l[place + chunk];
        }
        float after = own_m > m ? own_m : m;
        for (int bits = 1; bits < simt::kWarp; bits *= 2) {
            const float other = simt::shuffle(after, lane - bits);
            if (lane >= bits) after = other > after ? other : after;
        }
        float before = simt::shuffle(after, lane - 1);
        if (lane == 0) before = m;
        const float a = law::steps::exp(before - after), b = law::steps::exp(own_m - after), own_lb = own_l * b;
        m = simt::shuffle(after, simt::kWarp - 1);
        const int count = end - first < simt::kWarp ? static_cast<int>(end - first) + 1 : simt::kWarp;
        SIMT_UNROLL_BY(4)
        for (int i = 0; i < count; ++i) {
            const float of_a = simt::shuffle(a, i), of_b = simt::shuffle(b, i), of_lb = simt::shuffle(own_lb, i);
            float of_chunk = 0.0f;
            if (has_element) of_chunk = args.chunk_o[(place + first + i) * width + element];
            l = simt::fma(l, of_a, of_lb);
            o = simt::fma(o, of_a, of_chunk * of_b);
        }
    }
    if (!has_element) return;
    if (!simt::is_null(args.sinks)) {
        const float sink = args.sinks[head];
        const float larger = sink > m ? sink : m;
        const float a = law::steps::exp(m - larger), b = law::steps::exp(sink - larger);
        l = simt::fma(l, a, b);
        o = simt::fma(o, a, 0.0f * b);
    }
    const int64_t at = int64_t{head} * width + element;
    const float result = simt::divide(o, l);
    args.out.row(row)[at] = result;
    inspect(args.inspector, row, at, result);
}

}  // namespace invar::cuda
