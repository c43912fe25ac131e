// Products for many tokens on int8 tensor cores: a block computes 64 rows x kTokens tokens, a warp 16 rows of it. K is
// walked strand by strand: blocks 0, 8, 16, ... then 1, 9, ..., so that an output needs one running strand and one
// total, not eight strands; the order of the law is the order of the walk. A tile of activations (4 records of one
// strand) is copied to shared memory while the one before it is multiplied; weights go from L2 to registers, each byte
// of a strand once a block. Equal to dot_quantised() over quantise_row(). With experts a tile's tokens are slots that
// chose the same one.
#pragma once

#include "cuda/activations.cuh"
#include "cuda/failure.cuh"
#include "cuda/weight_pieces.cuh"

namespace invar::cuda {

inline constexpr int kTileRows = 64, kTileThreads = 128;
inline constexpr int kTileTokens = 64;  // activations are padded to it

// Adding this to an integer below 2^22 makes the binary32 12582912 + integer: tensor cores start from it, and one
// subtraction is the conversion. |idot| <= 32 * 127 * 128 < 2^20.
inline constexpr int32_t kFloatStart = 0x4B400000;
inline constexpr float kFloatStartValue = 12582912.0f;

struct TileArgs {
    Global<const uint8_t> weights;
    int64_t rows = 0, columns = 0;
    float scale = 1;
    TileActivations x;
    int64_t tokens = 0;
    Global<float> out;  // [tokens or slots][out_stride]
    int64_t out_stride = 0;
    Inspector inspector;
    // Experts (routing.cuh, group_slots): tile y holds slots sorted[tile_first[y]] .. of expert tile_expert[y].
    Global<const int32_t> tile_expert, tile_first, tile_count, sorted;
    int64_t expert_bytes = 0;
    int slots_of_row = 1;
};

// The tokens of a block: which rows of the activations it reads, which rows of `out` it writes.
struct TileTokens {
    Global<const uint8_t> weights;
    int64_t first = 0;
    int count = 0;
};

template <int kTokens>
SIMT_DEVICE TileTokens tokens_of_tile(const TileArgs& args, int64_t tile) {
    TileTokens tokens;
    if (simt::is_null(args.sorted)) {
        tokens.weights = args.weights;
        tokens.first = tile * kTokens;
        const int64_t left = args.tokens - tokens.first;
        tokens.count = static_cast<int>(left < kTokens ? left : kTokens);
    } else {
        const int32_t expert = args.tile_expert[tile];
        tokens.weights = args.weights + (expert < 0 ? 0 : expert) * args.expert_bytes;
        tokens.first = args.tile_first[tile];
        tokens.count = expert < 0 ? 0 : static_cast<int>(args.tile_count[tile]);
    }
    return tokens;
}

// The row of the activations that token (or sorted slot) i reads.
SIMT_DEVICE int64_t row_of_token(const TileArgs& args, int64_t i) {
    if (simt::is_null(args.sorted)) return i;
    const int32_t slot = args.sorted[i];
    return slot / args.slots_of_row;
}

// The result of token (or sorted slot) i and row `output`, if there is such a row.
SIMT_DEVICE void store_output(const TileArgs& args, int64_t i, int64_t output, float total) {
    if (output >= args.rows) return;
    const int64_t to = simt::is_null(args.sorted) ? i : int64_t{args.sorted[i]};
    const float y = args.scale == 1.0f ? total : total * args.scale;
    args.out[to * args.out_stride + output] = y;
    inspect(args.inspector, to, output, y);
}

// A tile of activations in shared memory, one of two buffers.
template <FormatId kId, int kTokens>
struct TileBuffers {
    using W = Weights<kId>;
    simt::Shared<Words4> q;     // [2][record][half][token]
    simt::Shared<float> d, sx;  // [2][record][token]; sx for minima
    simt::Shared<int32_t> sum;  // [2][half][record][token]; for halves with minima
    simt::Shared<int32_t> row;  // [token]: of the activations

    // Starts the copies of records first .. first + 3 of a strand.
    SIMT_DEVICE void copy(const TileArgs& args, int buffer, int strand, int64_t first) const {
        const int64_t records = records_of(args.columns), tokens = args.x.tokens;
        const Global<const Words4> from = simt::view<const Words4>(args.x.q);
        for (int i = simt::thread_index(); i < 2 * kSpanRecords * kTokens; i += kTileThreads) {
            const int token = i % kTokens, half = i / kTokens % 2, record = i / kTokens / 2;
            if (first + record >= records) break;
            const int64_t plane = (strand * records + first + record) * 2 + half;
            simt::copy_async(q + (buffer * 2 * kSpanRecords * kTokens + i), from + (plane * tokens + row[token]));
        }
        for (int i = simt::thread_index(); i < kSpanRecords * kTokens; i += kTileThreads) {
            const int token = i % kTokens, record = i / kTokens;
            if (first + record >= records) break;
            const int64_t at = (strand * records + first + record) * tokens + row[token];
            const int to = buffer * kSpanRecords * kTokens + i;
            simt::copy_async4(d + to, args.x.d + at);
            if constexpr (W::kStep == DeviceStep::minimum) simt::copy_async4(sx + to, args.x.sx + at);
            if constexpr (W::kStep == DeviceStep::halves_minimum) {
                simt::copy_async4(sum + (to + buffer * kSpanRecords * kTokens), args.x.sum[0] + at);
                simt::copy_async4(sum + (to + (buffer + 1) * kSpanRecords * kTokens), args.x.sum[1] + at);
            }
        }
        simt::commit_copies();
    }

    SIMT_DEVICE BlockInputs inputs(int buffer, int record, int token) const {
        const int at = (buffer * kSpanRecords + record) * kTokens + token;
        BlockInputs x{};
        x.d = d[at];
        if constexpr (W::kStep == DeviceStep::minimum) x.sx = sx[at];
        if constexpr (W::kStep == DeviceStep::halves_minimum) {
            x.half_sum[0] = sum[at + buffer * kSpanRecords * kTokens];
            x.half_sum[1] = sum[at + (buffer + 1) * kSpanRecords * kTokens];
        }
        return x;
    }
};

// One of the two rows of a lane: where its weights are, in its group.
struct TileRow {
    Global<const uint8_t> group;
    int row_in_group;
    int64_t row;
};

// A block of 32 columns: 16 rows of a warp x 8 tokens, four outputs of a lane.
template <FormatId kId>
SIMT_DEVICE void multiply_block(const uint32_t (&a)[4], const uint32_t (&b)[2], const BlockScales (&w)[2],
                                const BlockInputs (&x)[2], float (&s)[4]) {
    using W = Weights<kId>;
    if constexpr (W::kHalves) {
        int32_t first[4] = {}, second[4] = {};
        simt::mma_s8_half(first, a[0], a[1], b[0]);
        simt::mma_s8_half(second, a[2], a[3], b[1]);
        SIMT_UNROLL
        for (int e = 0; e < 4; ++e) s[e] = W::step(w[e / 2], x[e % 2], first[e], second[e], s[e]);
    } else {
        int32_t sums[4] = {kFloatStart, kFloatStart, kFloatStart, kFloatStart};
        simt::mma_s8(sums, a, b);
        SIMT_UNROLL
        for (int e = 0; e < 4; ++e) {
            const float dot = simt::as_float(static_cast<uint32_t>(sums[e])) - kFloatStartValue;
            s[e] = W::step_of_dot(w[e / 2], x[e % 2], dot, s[e]);
        }
    }
}

// Grid: (ceil(rows / 64), tiles of tokens), kTileThreads threads.
template <FormatId kId, int kTokens>
SIMT_KERNEL(kTileThreads)
tile_kernel(TileArgs args) {
    using W = Weights<kId>;
    constexpr int kColumnsOfWarp = kTokens / 8;  // tensor-core tiles side by side
    constexpr int kNeedSx = W::kStep == DeviceStep::minimum, kNeedSums = W::kStep == DeviceStep::halves_minimum;
    SIMT_SHARED(Words4, q, 2 * 2 * kSpanRecords * kTokens);
    SIMT_SHARED(float, d, 2 * kSpanRecords * kTokens);
    SIMT_SHARED(float, sx, kNeedSx ? 2 * kSpanRecords* kTokens : 1);
    SIMT_SHARED(int32_t, sum, kNeedSums ? 4 * kSpanRecords * kTokens : 1);
    SIMT_SHARED(int32_t, row, kTokens);
    const TileBuffers<kId, kTokens> tile{q, d, sx, sum, row};

    const TileTokens tokens = tokens_of_tile<kTokens>(args, simt::block_index_y());
    if (tokens.count <= 0) return;  // all threads of the block
    const int thread = simt::thread_index();
    if (thread < kTokens) {
        const int64_t i = tokens.first + (thread < tokens.count ? thread : 0);
        row[thread] = static_cast<int32_t>(row_of_token(args, i));
    }
    simt::sync_block();

    const int lane = simt::lane_index();
    const int64_t records = records_of(args.columns), last_group = groups_of(args.rows) - 1;
    TileRow rows[2];
    for (int e = 0; e < 2; ++e) {
        rows[e].row = int64_t{simt::block_index()} * kTileRows + 16 * simt::warp_index() + 8 * e + lane / 4;
        const int64_t group = rows[e].row / kGroupRows;
        rows[e].group = tokens.weights + (group < last_group ? group : last_group) * W::group_size(records);
        rows[e].row_in_group = static_cast<int>(rows[e].row % kGroupRows);
    }

    float s[kColumnsOfWarp][4] = {}, total[kColumnsOfWarp][4] = {};
    int buffer = 0;
    tile.copy(args, 0, 0, 0);
    for (int strand = 0; strand < 8; ++strand) {
        for (int64_t first = 0; first < records; first += kSpanRecords) {
            const bool last_span = first + kSpanRecords >= records;
            if (!last_span || strand < 7) {
                tile.copy(args, buffer ^ 1, last_span ? strand + 1 : strand, last_span ? 0 : first + kSpanRecords);
                simt::wait_for_copies<1>();
            } else {
                simt::wait_for_copies<0>();
            }
            simt::sync_block();
            typename W::Piece piece[2], side[2];
            Global<const uint8_t> span[2];
            for (int e = 0; e < 2; ++e) {
                span[e] = rows[e].group + first / kSpanRecords * W::kSpanBytes;
                piece[e] = W::load_piece(span[e], 4 * strand + rows[e].row_in_group);
                side[e] = W::load_side(span[e], rows[e].row_in_group);
            }
            SIMT_UNROLL
            for (int i = 0; i < kSpanRecords; ++i) {
                if (first + i >= records) break;
                uint32_t a[4];
                BlockScales w[2];
                for (int e = 0; e < 2; ++e) {
                    const auto record = span[e] + (W::kRecordsAt + i * W::kRecordBytes);
                    W::load_pair_of_groups(record, 4 * strand + rows[e].row_in_group, lane % 4, a[e], a[2 + e]);
                    RawScales raw = W::raw_scales(piece[e], side[e], i);
                    W::read_superblock(span[e], i, rows[e].row_in_group, raw);
                    w[e] = W::block_scales(raw);
                }
                for (int e = 0; e < 4; ++e) a[e] = W::signed_codes(a[e]);
                const auto words = simt::view<uint32_t>(q);
                SIMT_UNROLL
                for (int n = 0; n < kColumnsOfWarp; ++n) {
                    const int place = ((buffer * kSpanRecords + i) * 2 * kTokens + 8 * n + lane / 4) * 4 + lane % 4;
                    const uint32_t b[2] = {words[place], words[place + 4 * kTokens]};
                    const int token = 8 * n + 2 * (lane % 4);
                    const BlockInputs x[2] = {tile.inputs(buffer, i, token), tile.inputs(buffer, i, token + 1)};
                    multiply_block<kId>(a, b, w, x, s[n]);
                }
            }
            simt::sync_block();
            buffer ^= 1;
        }
        SIMT_UNROLL
        for (int n = 0; n < kColumnsOfWarp; ++n) {
            for (int e = 0; e < 4; ++e) {
                total[n][e] = strand == 0 ? s[n][e] : total[n][e] + s[n][e];
                s[n][e] = 0.0f;
            }
        }
    }

    SIMT_UNROLL
    for (int n = 0; n < kColumnsOfWarp; ++n) {
        SIMT_UNROLL
        for (int e = 0; e < 4; ++e) {
            const int token = 8 * n + 2 * (lane % 4) + e % 2;
            if (token < tokens.count) store_output(args, tokens.first + token, rows[e / 2].row, total[n][e]);
        }
    }
}

}  // namespace invar::cuda
