// Products of float weights for many tokens. The law is an ordered chain of fma per strand, which no tensor core
// computes, so this is a register tile: a block has kRows rows x kTokens tokens, a thread 8 x 8 of them (4 x 2 in the
// small tile), and K is walked strand by strand, as in linear_tiles.cuh. Weights and activations are copied to shared
// memory unchanged, 16 bytes at a time, while the stage before is multiplied. Weights are widened in registers, once
// for all tokens of the thread. Equal to dot_float().
#pragma once

#include "cuda/linear_tiles.cuh"

namespace invar::cuda {

inline constexpr int kTokenLanes = 8, kRowLanes = kTileThreads / kTokenLanes;
constexpr int float_tile_rows(int tokens) { return tokens == 16 ? 64 : 128; }

// A stage is 4 chunks of 16 bytes of every row (2 of FP8): 16 columns of f32, 32 of the others.
template <FormatId kId, int kTokens>
struct FloatStages {
    using W = FloatWeights<kId>;
    static constexpr int kElementBytes = W::kLayout.float_bytes();
    static constexpr int kRows = float_tile_rows(kTokens);
    static constexpr int kChunks = kElementBytes == 1 ? 2 : 4, kColumns = kChunks * 16 / kElementBytes,
                         kQuads = kColumns / 4;
    static constexpr int kOfBlock = 32 / kColumns;  // stages per block of 32 columns

    simt::Shared<Words4> weights;  // [2][chunk][row]
    simt::Shared<Words4> x;        // [2][4 columns][token]

    // The row and the token that this thread copies, and the places of their next stages.
    Global<const uint8_t> row;
    Global<const Words4> token;
    int64_t x_tokens = 0, records = 0, record = 0;
    int strand = 0, part = 0;

    // Starts the copies of the next stage. The walk goes over parts of a block, then records, then strands.
    SIMT_DEVICE void copy(int buffer) {
        const int thread = simt::thread_index();
        const auto from = row + (W::record_at(record) + part * (kChunks * 512) + 64 * strand);
        SIMT_UNROLL
        for (int i = thread; i < kChunks * kRows; i += kTileThreads)
            simt::copy_async(weights + (buffer * kChunks * kRows + i),
                             simt::view<const Words4>(from + i / kRows * 512));
        const int64_t quad = (strand * records + record) * 8 + part * kQuads;
        SIMT_UNROLL
        for (int i = thread; i < kQuads * kTokens; i += kTileThreads)
            simt::copy_async(x + (buffer * kQuads * kTokens + i), token + (quad + i / kTokens) * x_tokens);
        simt::commit_copies();
        if (++part < kOfBlock) return;
        part = 0;
        if (++record < records) return;
        record = 0;
        ++strand;
    }

    // Loads and widens columns 4 quad .. 4 quad + 3 of the stage for one row.
    SIMT_DEVICE void load_weights(int buffer, int quad, int of_row, float (&w)[4]) const {
        constexpr int kOfChunk = 4 / kElementBytes;  // fours of columns
        const int place = (buffer * kChunks + quad / kOfChunk) * kRows + of_row;
        Words4 words{};
        if constexpr (kElementBytes == 4) {
            words = weights[place];
        } else if constexpr (kElementBytes == 2) {
            const Words2 half = simt::view<Words2>(weights)[place * 2 + quad % 2];
            words.w[0] = half.w[0];
            words.w[1] = half.w[1];
        } else {
            words.w[0] = simt::view<uint32_t>(weights)[place * 4 + quad % 4];
        }
        widen_four<kId>(words, 0, w);
    }
};

// Grid: (ceil(rows / kRows), tiles of tokens).
template <FormatId kId, int kTokens>
SIMT_KERNEL(kTileThreads)
float_tile_kernel(TileArgs args) {
    using Stages = FloatStages<kId, kTokens>;
    using W = typename Stages::W;
    constexpr int kOwnRows = Stages::kRows / kRowLanes, kOwnTokens = kTokens / kTokenLanes;
    SIMT_SHARED(Words4, weights, 2 * Stages::kChunks * Stages::kRows);
    SIMT_SHARED(Words4, x, 2 * Stages::kQuads * kTokens);
    const TileTokens tokens = tokens_of_tile<kTokens>(args, simt::block_index_y());
    if (tokens.count <= 0) return;  // all threads of the block
    const int thread = simt::thread_index();
    const int64_t first_row = int64_t{simt::block_index()} * Stages::kRows;

    Stages stages{weights, x};
    stages.records = records_of(args.columns);
    stages.x_tokens = args.x.tokens;
    const int64_t copied_row = first_row + thread % Stages::kRows, last_group = groups_of(args.rows) - 1;
    const int64_t group = copied_row / kGroupRows < last_group ? copied_row / kGroupRows : last_group;
    stages.row = tokens.weights + (group * W::group_size(stages.records) + 16 * (copied_row % kGroupRows));
    const int copied_token = thread % kTokens < tokens.count ? thread % kTokens : 0;
    stages.token = simt::view<const Words4>(args.x.values) + row_of_token(args, tokens.first + copied_token);

    const int row_lane = thread / kTokenLanes, token_lane = thread % kTokenLanes;
    float s[kOwnRows][kOwnTokens] = {}, total[kOwnRows][kOwnTokens] = {};
    const int64_t stages_of_strand = stages.records * Stages::kOfBlock;
    int buffer = 0;
    stages.copy(0);
    for (int strand = 0; strand < 8; ++strand) {
        for (int64_t left = stages_of_strand; left > 0; --left) {
            if (stages.strand < 8) {
                stages.copy(buffer ^ 1);
                simt::wait_for_copies<1>();
            } else {
                simt::wait_for_copies<0>();
            }
            simt::sync_block();
            float factor[kOwnRows] = {};
            if constexpr (W::kHasFactor) {
                const int64_t record = (stages_of_strand - left) / Stages::kOfBlock;
                SIMT_UNROLL
                for (int r = 0; r < kOwnRows; ++r) {
                    const int64_t row = first_row + row_lane + kRowLanes * r, of_row = row / kGroupRows;
                    const int64_t own = of_row < last_group ? of_row : last_group;
                    factor[r] = W::factor(tokens.weights + own * W::group_size(stages.records), record, strand);
                }
            }
            SIMT_UNROLL
            for (int quad = 0; quad < Stages::kQuads; ++quad) {
                simt::Floats4 columns[kOwnTokens];
                SIMT_UNROLL
                for (int t = 0; t < kOwnTokens; ++t) {
                    const int place = (buffer * Stages::kQuads + quad) * kTokens + token_lane + kTokenLanes * t;
                    columns[t] = simt::view<simt::Floats4>(x)[place];
                }
                SIMT_UNROLL
                for (int r = 0; r < kOwnRows; ++r) {
                    float w[4];
                    stages.load_weights(buffer, quad, row_lane + kRowLanes * r, w);
                    if constexpr (W::kHasFactor)
                        for (int k = 0; k < 4; ++k) w[k] = w[k] * factor[r];
                    SIMT_UNROLL
                    for (int k = 0; k < 4; ++k) {
                        SIMT_UNROLL
                        for (int t = 0; t < kOwnTokens; ++t) s[r][t] = simt::fma(w[k], columns[t].f[k], s[r][t]);
                    }
                }
            }
            simt::sync_block();
            buffer ^= 1;
        }
        SIMT_UNROLL
        for (int r = 0; r < kOwnRows; ++r) {
            SIMT_UNROLL
            for (int t = 0; t < kOwnTokens; ++t) {
                total[r][t] = strand == 0 ? s[r][t] : total[r][t] + s[r][t];
                s[r][t] = 0.0f;
            }
        }
    }
    SIMT_UNROLL
    for (int t = 0; t < kOwnTokens; ++t) {
        const int token = token_lane + kTokenLanes * t;
        if (token >= tokens.count) continue;
        SIMT_UNROLL
        for (int r = 0; r < kOwnRows; ++r)
            store_output(args, tokens.first + token, first_row + row_lane + kRowLanes * r, total[r][t]);
    }
}

}  // namespace invar::cuda
