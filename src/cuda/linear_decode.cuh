// Products for few tokens. A warp computes 4 rows for up to kTokens tokens; lane 4 b + r computes strand b of row r,
// from the first column to the last. Weights are loaded four records ahead of their use (2 KiB per warp in flight);
// activations are shared by all rows and stay in L1. There is no barrier and no shared memory; the eight strands of a
// row meet only at its end. Equal to dot_quantized() over quantize_row(), or dot_float(). Many tokens:
// linear_tiles.cuh.
#pragma once

#include "cuda/failure.cuh"
#include "cuda/result_scales.cuh"
#include "cuda/weight_pieces.cuh"

namespace invar::cuda {

inline constexpr int kDecodeWarps = 4;  // per block; they share nothing

struct DecodeArgs {
    Global<const uint8_t> weights;
    int64_t rows = 0, columns = 0;
    ResultScales scales;
    Global<const uint8_t>
        activations;  // quantised: [tokens][records] ActivationRecord; float: [tokens][records][256] reordered
    int64_t tokens = 0;
    Global<float> out;  // [tokens][out_stride]
    int64_t out_stride = 0;
    Inspector inspector;
    // Experts: token t is a slot, its weights begin at experts[t] * expert_bytes, and its activations are row t /
    // slots_of_row.
    Global<const int32_t> experts;
    int64_t expert_bytes = 0;
    int slots_of_row = 1;
};

// Adds the strands of the warp's four rows in order; lane r < 4 gets row r's sum.
SIMT_DEVICE float add_strands(float s) {
    const int row = simt::lane_index() % kGroupRows;
    float total = simt::shuffle(s, row);
    for (int b = 1; b < 8; ++b) total = total + simt::shuffle(s, 4 * b + row);
    return total;
}

template <int kTokens>
SIMT_DEVICE void store_rows(const DecodeArgs& args, int64_t group, int64_t first_token, const float (&s)[kTokens]) {
    const int row_in_group = simt::lane_index() % kGroupRows;
    const int64_t row = group * kGroupRows + row_in_group;
    const int64_t expert = simt::is_null(args.experts) ? 0 : args.experts[first_token];  // with experts kTokens is 1
    SIMT_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        const float total = add_strands(s[t]);
        if (simt::lane_index() >= kGroupRows || row >= args.rows || first_token + t >= args.tokens) continue;
        const float y = scaled(args.scales, expert, row, args.rows, total);
        args.out[(first_token + t) * args.out_stride + row] = y;
        inspect(args.inspector, first_token + t, row, y);
    }
}

// Where the weights of the block's tokens begin, and the activations of token t among them.
SIMT_DEVICE Global<const uint8_t> weights_of(const DecodeArgs& args, int64_t token) {
    if (simt::is_null(args.experts)) return args.weights;
    const int32_t expert = args.experts[token];
    return args.weights + expert * args.expert_bytes;
}
SIMT_DEVICE int64_t activation_row(const DecodeArgs& args, int64_t token) {
    const int64_t last = args.tokens - 1;  // lanes of tokens that do not exist compute the last one again
    return (token < last ? token : last) / args.slots_of_row;
}

template <FormatId kId>
SIMT_DEVICE BlockInputs load_inputs(Global<const uint8_t> record, int strand) {
    using W = Weights<kId>;
    BlockInputs x{};
    x.d = simt::view<const float>(record)[64 + strand];
    if constexpr (W::kStep == Step::minimum) x.sx = simt::view<const float>(record)[72 + strand];
    if constexpr (W::kStep == Step::halves_minimum || W::kOffset != 0) {
        x.half_sum[0] = simt::view<const int32_t>(record)[80 + strand];
        x.half_sum[1] = simt::view<const int32_t>(record)[88 + strand];
    }
    return x;
}

// Computes one block of 32 for one token: the integer dot and the float step.
template <FormatId kId>
SIMT_DEVICE float decode_block(const uint32_t (&low)[4], const uint32_t (&high)[4], const BlockScales& w,
                               Global<const uint8_t> record, int strand, float s) {
    using W = Weights<kId>;
    const BlockInputs x = load_inputs<kId>(record, strand);
    const Words4 x0 = simt::view<const Words4>(record)[strand];
    const Words4 x1 = simt::view<const Words4>(record)[8 + strand];
    int32_t first = 0, second = 0;
    if constexpr (W::kSigned) {
        SIMT_UNROLL
        for (int j = 0; j < 4; ++j) first = simt::dot4(low[j], x0.w[j], first);
        SIMT_UNROLL
        for (int j = 0; j < 4; ++j) second = simt::dot4(high[j], x1.w[j], second);
    } else {
        first = -W::kOffset * x.half_sum[0];
        SIMT_UNROLL
        for (int j = 0; j < 4; ++j) first = simt::dot4_unsigned(low[j], x0.w[j], first);
        SIMT_UNROLL
        for (int j = 0; j < 4; ++j) second = simt::dot4_unsigned(high[j], x1.w[j], second);
        if constexpr (W::kNibblesOnly) second >>= 4;  // the codes are still in the high nibbles: a multiple of 16
        second -= W::kOffset * x.half_sum[1];
    }
    if constexpr (!W::kHalves) first += second;
    return W::step(w, x, first, second, s);
}

// Grid: (ceil(groups / kDecodeWarps), ceil(tokens / kTokens)); with experts kTokens is 1.
template <FormatId kId, int kTokens>
SIMT_KERNEL(32 * kDecodeWarps)
decode_kernel(DecodeArgs args) {
    using W = Weights<kId>;
    constexpr int kActivationBytes = sizeof(ActivationRecord);
    const int lane = simt::lane_index(), row = lane % kGroupRows, strand = lane / kGroupRows;
    const int64_t group = int64_t{simt::block_index()} * kDecodeWarps + simt::warp_index();
    if (group >= groups_of(args.rows)) return;
    const int64_t first_token = int64_t{simt::block_index_y()} * kTokens;
    const int64_t records = records_of(args.columns);
    Global<const uint8_t> x[kTokens];
    SIMT_UNROLL
    for (int t = 0; t < kTokens; ++t)
        x[t] = args.activations + activation_row(args, first_token + t) * (records * kActivationBytes);

    float s[kTokens] = {};
    typename W::Planes ahead[kSpanRecords] = {};
    Global<const uint8_t> span = weights_of(args, first_token) + group * W::group_size(records);
    SIMT_UNROLL
    for (int i = 0; i < kSpanRecords; ++i)
        if (i < records) ahead[i] = W::load_planes(span + (W::kRecordsAt + i * W::kRecordBytes), lane);
    // All offsets below are constants: the loop moves pointers, not indices.
    for (int left = static_cast<int>(records); left > 0; left -= kSpanRecords) {
        const typename W::Piece piece = W::load_piece(span, lane);
        const typename W::Piece side = W::load_side(span, row, strand);
        span = span + W::kSpanBytes;
        SIMT_UNROLL
        for (int i = 0; i < kSpanRecords; ++i) {
            if (i >= left) break;
            RawScales raw = W::raw_scales(piece, side, i);
            W::gather_superblock(piece, i, row, raw);
            const BlockScales scales = W::block_scales(raw);
            uint32_t low[4], high[4];
            SIMT_UNROLL
            for (int j = 0; j < 4; ++j) {
                if constexpr (W::kNibblesOnly) {
                    low[j] = ahead[i].nibbles[j] & 0x0F0F0F0Fu;
                    high[j] = ahead[i].nibbles[j] & 0xF0F0F0F0u;
                } else {
                    W::pair_of_groups(ahead[i], j, low[j], high[j]);
                }
            }
            if (i + kSpanRecords < left) ahead[i] = W::load_planes(span + (W::kRecordsAt + i * W::kRecordBytes), lane);
            SIMT_UNROLL
            for (int t = 0; t < kTokens; ++t)
                s[t] = decode_block<kId>(low, high, scales, x[t] + i * kActivationBytes, strand, s[t]);
        }
        SIMT_UNROLL
        for (int t = 0; t < kTokens; ++t) x[t] = x[t] + kSpanRecords * kActivationBytes;
    }
    store_rows(args, group, first_token, s);
}

// ---- float weights

// Grid as above. A block of 32 columns takes 32 steps in rising order.
template <FormatId kId, int kTokens>
SIMT_KERNEL(32 * kDecodeWarps)
decode_float_kernel(DecodeArgs args) {
    using W = FloatWeights<kId>;
    constexpr int kOfChunk = 16 / W::kLayout.float_bytes(), kChunks = 32 / kOfChunk;
    const int lane = simt::lane_index(), strand = lane / kGroupRows;
    const int64_t group = int64_t{simt::block_index()} * kDecodeWarps + simt::warp_index();
    if (group >= groups_of(args.rows)) return;
    const int64_t first_token = int64_t{simt::block_index_y()} * kTokens;
    const int64_t records = records_of(args.columns);
    const Global<const uint8_t> weights = weights_of(args, first_token) + group * W::group_size(records);
    Global<const uint8_t> x_rows[kTokens];
    SIMT_UNROLL
    for (int t = 0; t < kTokens; ++t)
        x_rows[t] = args.activations + activation_row(args, first_token + t) * (records * kRecordColumns * 4);
    float s[kTokens] = {};
    for (int64_t record = 0; record < records; ++record) {
        const auto chunks = simt::view<const Words4>(weights + W::record_at(record));
        float factor = 1;
        if constexpr (W::kHasFactor) factor = W::factor(weights, record, strand);
        Words4 loaded[kChunks];
        SIMT_UNROLL
        for (int c = 0; c < kChunks; ++c) loaded[c] = simt::load_once(chunks + (32 * c + lane));
        SIMT_UNROLL
        for (int c = 0; c < kChunks; ++c) {
            SIMT_UNROLL
            for (int part = 0; part < kOfChunk / 4; ++part) {
                float w[4];
                widen_four<kId>(loaded[c], part, w);
                if constexpr (W::kHasFactor)
                    for (int i = 0; i < 4; ++i) w[i] = w[i] * factor;
                SIMT_UNROLL
                for (int t = 0; t < kTokens; ++t) {
                    const auto x = simt::view<const simt::Floats4>(x_rows[t] + record * (kRecordColumns * 4));
                    const simt::Floats4 four = x[(c * kOfChunk / 4 + part) * 8 + strand];
                    SIMT_UNROLL
                    for (int i = 0; i < 4; ++i) s[t] = simt::fma(w[i], four.f[i], s[t]);
                }
            }
        }
    }
    store_rows(args, group, first_token, s);
}

}  // namespace invar::cuda
