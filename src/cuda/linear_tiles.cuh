// Products for many tokens on int8 tensor cores. A block computes 64 rows x kTokens tokens, a warp 16 rows of it. K is
// walked strand by strand: blocks 0, 8, 16, ... then 1, 9, ..., so that an output needs one running strand and one
// total instead of eight strands; the order of the walk is the order of the law. Activations of 4 records of one strand
// (a stage) are copied to shared memory while the stage before is multiplied. Weights go from L2 to registers a stage
// ahead; a block reads each byte of a strand once. Equal to dot_quantized() over quantize_row(). With experts a tile's
// tokens are slots that chose the same one.
#pragma once

#include "cuda/activations.cuh"
#include "cuda/failure.cuh"
#include "cuda/result_scales.cuh"
#include "cuda/weight_pieces.cuh"

namespace invar::cuda {

inline constexpr int kTileRows = 64, kTileThreads = 128;
inline constexpr int kTileTokens = 128;  // activations are padded to it

// Added to an integer below 2^22, this gives the bits of the binary32 12582912 + integer. Tensor cores start from it,
// and one subtraction converts the result to float. |idot| <= 32 * 127 * 128 < 2^20.
inline constexpr int32_t kFloatStart = 0x4B400000;
inline constexpr float kFloatStartValue = 12582912.0f;

struct TileArgs {
    Global<const uint8_t> weights;
    int64_t rows = 0, columns = 0;
    ResultScales scales;
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

// The tokens of a block: the rows of the activations that it reads and the rows of `out` that it writes.
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
    const int64_t expert = simt::is_null(args.sorted) ? 0 : args.tile_expert[simt::block_index_y()];
    const float y = scaled(args.scales, expert, output, args.rows, total);
    args.out[to * args.out_stride + output] = y;
    inspect(args.inspector, to, output, y);
}

// The position of the walk over K: records record .. record + 3 of a strand, as far as they exist. Past the end there
// are none.
struct TileWalk {
    int records, record = 0, strand = 0;

    SIMT_DEVICE bool ended() const { return strand == 8; }
    SIMT_DEVICE int count() const {
        const int left = ended() ? 0 : records - record;
        return left < kSpanRecords ? left : kSpanRecords;
    }
    SIMT_DEVICE bool last_of_strand() const { return record + kSpanRecords >= records; }
    SIMT_DEVICE void advance() {
        const bool last = last_of_strand();
        record = last ? 0 : record + kSpanRecords;
        strand += last ? 1 : 0;
    }
};

// Orders the activations' scales so that one 16-byte read brings a lane the two tokens of each of two neighbouring
// tensor-core tiles. Token 8 n + 2 j + e of the tile stands at place 16 (n / 2) + 4 j + 2 (n % 2) + e.
SIMT_DEVICE int scale_place(int token) { return token / 16 * 16 + token % 8 / 2 * 4 + token / 8 % 2 * 2 + token % 2; }

// One stage of activations in shared memory, in one of two buffers.
template <FormatId kId, int kTokens>
struct TileStages {
    using W = Weights<kId>;
    static constexpr bool kNeedSx = W::kStep == Step::minimum;
    static constexpr bool kNeedSums = W::kStep == Step::halves_minimum;
    static constexpr int kPlanes = 2 * kSpanRecords;  // of codes: [record][half]

    simt::Shared<Words4> q;           // [2][record][half][token]
    simt::Shared<float> d, sx, sum0;  // [2][record][scale_place]; sx for minima
    simt::Shared<float> sum1;         // sums of the halves, for halves with minima

    // This thread copies one token. Blocks follow each other in the order of the walk, so the places below only move
    // forward, by the records copied.
    Global<const Words4> from_q;
    Global<const float> from_d, from_sx, from_sum[2];
    int tokens = 0;  // tokens in all, the distance from one record to the next

    SIMT_DEVICE void start(const TileArgs& args, int64_t row) {
        tokens = static_cast<int>(args.x.tokens);
        from_q = simt::view<const Words4>(args.x.q) + row;
        from_d = args.x.d + row;
        if constexpr (kNeedSx) from_sx = args.x.sx + row;
        if constexpr (kNeedSums) {
            from_sum[0] = args.x.sum[0] + row;
            from_sum[1] = args.x.sum[1] + row;
        }
    }

    SIMT_DEVICE void copy(int buffer, int count) {
        constexpr int kStep = kTileThreads / kTokens;
        const int token = simt::thread_index() % kTokens, first = simt::thread_index() / kTokens;
        const auto to_q = q + (buffer * kPlanes * kTokens + token);
        SIMT_UNROLL
        for (int plane = 0; plane < kPlanes; plane += kStep)
            if (plane + first < 2 * count)
                simt::copy_async(to_q + (plane + first) * kTokens, from_q + (plane + first) * tokens);
        const int to = buffer * kSpanRecords * kTokens + scale_place(token);
        SIMT_UNROLL
        for (int i = 0; i < kSpanRecords; i += kStep) {
            if (i + first >= count) continue;
            const int place = to + (i + first) * kTokens, at = (i + first) * tokens;
            simt::copy_async4(d + place, from_d + at);
            if constexpr (kNeedSx) simt::copy_async4(sx + place, from_sx + at);
            if constexpr (kNeedSums) {
                simt::copy_async4(sum0 + place, from_sum[0] + at);
                simt::copy_async4(sum1 + place, from_sum[1] + at);
            }
        }
        simt::commit_copies();
        from_q = from_q + 2 * count * tokens;
        from_d = from_d + count * tokens;
        if constexpr (kNeedSx) from_sx = from_sx + count * tokens;
        if constexpr (kNeedSums) {
            from_sum[0] = from_sum[0] + count * tokens;
            from_sum[1] = from_sum[1] + count * tokens;
        }
    }

    // Loads the tensor-core operands of the 8 tokens 8 n .. and the next 8: b[0], b[1] of each. `lane_q` is q, moved to
    // the place that this lane gives to ldmatrix: token lane % 8 of the first or the next 8, half 0 or 1.
    SIMT_DEVICE void load_codes(simt::Shared<Words4> lane_q, int i, int n, uint32_t (&b)[4]) const {
        simt::load_matrix(b, lane_q + (2 * i * kTokens + 8 * n));
    }
    SIMT_DEVICE simt::Shared<Words4> lane_codes(int buffer) const {
        const int lane = simt::lane_index();
        return q + ((buffer * kPlanes + lane / 8 % 2) * kTokens + 8 * (lane / 16) + lane % 8);
    }
    // Two tokens of each of the two tiles.
    SIMT_DEVICE simt::Floats4 load_scales(simt::Shared<float> scales, int lane_scales, int i, int n) const {
        return simt::view<simt::Floats4>(scales)[lane_scales + i * (kTokens / 4) + 2 * n];
    }
    SIMT_DEVICE static int lane_scales(int buffer) {
        return buffer * kSpanRecords * (kTokens / 4) + simt::lane_index() % 4;
    }
};

// The scales of a block of weights in the form of the tiles' float steps. Integers among them are below 2^24.
struct TileScales {
    float dw = 0, other = 0;  // as in BlockScales
    float scale[2] = {}, minimum[2] = {};
};

// The weights that a lane holds: two rows of the warp's 16 (lane / 4 and 8 more), one strand of four records. Lane j of
// the four lanes of a row computes the scales of record j; the others get them by shuffles.
template <FormatId kId>
struct TileWeights {
    using W = Weights<kId>;
    Global<const uint8_t> span[2];  // where the next loads begin
    int row_in_group = 0;           // 8 rows apart: the same for both
    int spans_bytes = 0;            // of all spans before the last

    typename W::PairWords codes[kSpanRecords][2];
    typename W::Piece piece[2], side[2];
    RawScales superblock[2];

    SIMT_DEVICE void load_scales(int strand) {
        for (int e = 0; e < 2; ++e) {
            piece[e] = W::load_piece(span[e], 4 * strand + row_in_group);
            side[e] = W::load_side(span[e], row_in_group, strand);
            W::read_superblock(span[e], simt::lane_index() % 4, row_in_group, superblock[e]);
        }
    }
    SIMT_DEVICE void load_codes(int strand, int i) {
        for (int e = 0; e < 2; ++e)
            codes[i][e] = W::load_pair_words(span[e] + W::kRecordsAt, i * W::kRecordBytes, 4 * strand + row_in_group,
                                             simt::lane_index() % 4);
    }
    SIMT_DEVICE void advance(bool strand_ends) {
        const int step = strand_ends ? -spans_bytes : W::kSpanBytes;
        for (int e = 0; e < 2; ++e) span[e] = span[e] + step;
    }
    // Makes the tensor-core operand of record i.
    SIMT_DEVICE void operand(int i, uint32_t (&a)[4]) const {
        for (int e = 0; e < 2; ++e) {
            W::combine_pair(codes[i][e], simt::lane_index() % 4, a[e], a[2 + e]);
            a[e] = W::signed_codes(a[e]);
            a[2 + e] = W::signed_codes(a[2 + e]);
        }
    }
    // The scales of this lane's record.
    SIMT_DEVICE TileScales own_scales(int e) const {
        RawScales raw = W::raw_scales(piece[e], side[e], simt::lane_index() % 4);
        if constexpr (W::kScales == ScaleForm::six_bit || W::kScales == ScaleForm::iq4_xs) {
            raw.d = superblock[e].d;
            raw.m = superblock[e].m;
        }
        const BlockScales scales = W::block_scales(raw);
        TileScales own{.dw = scales.dw, .other = scales.other};
        for (int h = 0; h < 2; ++h) {
            own.scale[h] = static_cast<float>(scales.scale[h]);
            own.minimum[h] = static_cast<float>(scales.minimum[h]);
        }
        return own;
    }
    // The scales of record i, from the lane that computed them.
    SIMT_DEVICE static TileScales shared_scales(const TileScales& own, int i) {
        const int from = (simt::lane_index() & ~3) + i;
        TileScales scales;
        scales.dw = simt::shuffle(own.dw, from);
        if constexpr (W::kStep != Step::plain && W::kStep != Step::halves)
            scales.other = simt::shuffle(own.other, from);
        for (int h = 0; h < 2; ++h) {
            if constexpr (W::kHalves && W::kStep != Step::two_floats)
                scales.scale[h] = simt::shuffle(own.scale[h], from);
            if constexpr (W::kStep == Step::halves_minimum) scales.minimum[h] = simt::shuffle(own.minimum[h], from);
        }
        return scales;
    }
};

// A token's input to a float step.
struct TileInputs {
    float d, sx, sum0, sum1;
};

// The float steps of one output. `first` and `second` are dots plus kFloatStartValue: of the two halves of the block,
// or the whole dot in `first`. Every integer sum here is below 2^24 and exact in binary32, so the steps are those of
// Weights::step: sc0 first - sc0 start is an integer below 2^24 too, and fma rounds once.
template <FormatId kId>
SIMT_DEVICE float tile_step(const TileScales& w, const TileInputs& x, float first, float second, float s) {
    constexpr Step kStep = Weights<kId>::kStep;
    if constexpr (kStep == Step::plain || kStep == Step::minimum) {
        s = simt::fma(w.dw * x.d, first - kFloatStartValue, s);
        if constexpr (kStep == Step::minimum) s = simt::fma(w.other, x.sx, s);
        return s;
    }
    if constexpr (kStep == Step::two_floats) {
        s = simt::fma(w.dw * x.d, first - kFloatStartValue, s);
        return simt::fma(w.other * x.d, second - kFloatStartValue, s);
    }
    const float of_first = simt::fma(w.scale[0], first, -kFloatStartValue * w.scale[0]);
    const float sum = simt::fma(w.scale[1], second - kFloatStartValue, of_first);
    s = simt::fma(w.dw * x.d, sum, s);
    if constexpr (kStep == Step::halves) return s;
    const float minimum = simt::fma(w.minimum[1], x.sum1, w.minimum[0] * x.sum0);
    return simt::fma(-(w.other * x.d), minimum, s);
}

// One block of 32 columns: 16 rows of a warp x 8 tokens, four outputs per lane.
template <FormatId kId>
SIMT_DEVICE void multiply_block(const uint32_t (&a)[4], uint32_t b0, uint32_t b1, const TileScales (&w)[2],
                                const TileInputs (&x)[2], float (&s)[4]) {
    const int32_t start[4] = {kFloatStart, kFloatStart, kFloatStart, kFloatStart};
    int32_t first[4], second[4] = {};
    if constexpr (Weights<kId>::kHalves) {
        simt::mma_s8_half(first, a[0], a[1], b0, start);
        simt::mma_s8_half(second, a[2], a[3], b1, start);
    } else {
        simt::mma_s8(first, a, {b0, b1}, start);
    }
    SIMT_UNROLL
    for (int e = 0; e < 4; ++e)
        s[e] = tile_step<kId>(w[e / 2], x[e % 2], simt::as_float(static_cast<uint32_t>(first[e])),
                              simt::as_float(static_cast<uint32_t>(second[e])), s[e]);
}

// Record i of a stage: 16 rows of a warp x kTokens.
template <FormatId kId, int kTokens>
SIMT_DEVICE void multiply_record(const TileStages<kId, kTokens>& stages, simt::Shared<Words4> lane_q, int at, int i,
                                 const uint32_t (&a)[4], const TileScales (&w)[2], float (&s)[kTokens / 8][4]) {
    SIMT_UNROLL
    for (int n = 0; n < kTokens / 8; n += 2) {
        uint32_t b[4];
        stages.load_codes(lane_q, i, n, b);
        const simt::Floats4 d = stages.load_scales(stages.d, at, i, n);
        simt::Floats4 sx{}, sum0{}, sum1{};
        if constexpr (stages.kNeedSx) sx = stages.load_scales(stages.sx, at, i, n);
        if constexpr (stages.kNeedSums) {
            sum0 = stages.load_scales(stages.sum0, at, i, n);
            sum1 = stages.load_scales(stages.sum1, at, i, n);
        }
        SIMT_UNROLL
        for (int m = 0; m < 2; ++m) {
            const TileInputs x[2] = {{d.f[2 * m], sx.f[2 * m], sum0.f[2 * m], sum1.f[2 * m]},
                                     {d.f[2 * m + 1], sx.f[2 * m + 1], sum0.f[2 * m + 1], sum1.f[2 * m + 1]}};
            multiply_block<kId>(a, b[2 * m], b[2 * m + 1], w, x, s[n + m]);
        }
    }
}

// Grid: (ceil(rows / kTileRows), tiles of tokens).
template <FormatId kId, int kTokens>
SIMT_KERNEL(kTileThreads)
tile_kernel(TileArgs args) {
    using W = Weights<kId>;
    using Stages = TileStages<kId, kTokens>;
    SIMT_SHARED(Words4, q, 2 * Stages::kPlanes * kTokens);
    SIMT_SHARED(float, d, 2 * kSpanRecords * kTokens);
    SIMT_SHARED(float, sx, Stages::kNeedSx ? 2 * kSpanRecords* kTokens : 4);
    SIMT_SHARED(float, sum0, Stages::kNeedSums ? 2 * kSpanRecords* kTokens : 4);
    SIMT_SHARED(float, sum1, Stages::kNeedSums ? 2 * kSpanRecords* kTokens : 4);
    const TileTokens tokens = tokens_of_tile<kTokens>(args, simt::block_index_y());
    if (tokens.count <= 0) return;  // all threads of the block
    const int copied = simt::thread_index() % kTokens < tokens.count ? simt::thread_index() % kTokens : 0;
    Stages stages{q, d, sx, sum0, sum1};
    stages.start(args, row_of_token(args, tokens.first + copied));

    const int lane = simt::lane_index();
    const int64_t last_group = groups_of(args.rows) - 1;
    const int64_t first_row = int64_t{simt::block_index()} * kTileRows + 16 * simt::warp_index() + lane / 4;
    TileWalk walk{.records = static_cast<int>(records_of(args.columns))};
    TileWeights<kId> weights;
    weights.row_in_group = static_cast<int>(first_row % kGroupRows);
    weights.spans_bytes = (walk.records - 1) / kSpanRecords * W::kSpanBytes;
    for (int e = 0; e < 2; ++e) {
        const int64_t group = (first_row + 8 * e) / kGroupRows;
        weights.span[e] = tokens.weights + (group < last_group ? group : last_group) * W::group_size(walk.records);
    }

    // -0 + y is y, also for zeros.
    float s[kTokens / 8][4], total[kTokens / 8][4];
    for (int n = 0; n < kTokens / 8; ++n)
        for (int e = 0; e < 4; ++e) s[n][e] = 0.0f, total[n][e] = -0.0f;
    int buffer = 0;
    stages.copy(0, walk.count());
    weights.load_scales(0);
    SIMT_UNROLL
    for (int i = 0; i < kSpanRecords; ++i)
        if (i < walk.count()) weights.load_codes(0, i);
    while (!walk.ended()) {
        TileWalk next = walk;
        next.advance();
        const int count = walk.count(), next_count = next.count();
        if (next_count > 0) {
            stages.copy(buffer ^ 1, next_count);
            simt::wait_for_copies<1>();
        } else {
            simt::wait_for_copies<0>();
        }
        simt::sync_block();
        const TileScales own[2] = {weights.own_scales(0), weights.own_scales(1)};
        weights.advance(walk.last_of_strand());
        if (next_count > 0) weights.load_scales(next.strand);
        const simt::Shared<Words4> lane_q = stages.lane_codes(buffer);
        const int at = Stages::lane_scales(buffer);
        SIMT_UNROLL
        for (int i = 0; i < kSpanRecords; ++i) {
            uint32_t a[4];
            weights.operand(i, a);
            if (i < next_count) weights.load_codes(next.strand, i);
            if (i >= count) continue;
            const TileScales w[2] = {weights.shared_scales(own[0], i), weights.shared_scales(own[1], i)};
            multiply_record<kId, kTokens>(stages, lane_q, at, i, a, w, s);
        }
        simt::sync_block();
        buffer ^= 1;
        if (walk.last_of_strand()) {
            SIMT_UNROLL
            for (int n = 0; n < kTokens / 8; ++n) {
                for (int e = 0; e < 4; ++e) total[n][e] = total[n][e] + s[n][e], s[n][e] = 0.0f;
            }
        }
        walk = next;
    }

    SIMT_UNROLL
    for (int n = 0; n < kTokens / 8; ++n) {
        SIMT_UNROLL
        for (int e = 0; e < 4; ++e) {
            const int token = 8 * n + 2 * (lane % 4) + e % 2;
            if (token < tokens.count) store_output(args, tokens.first + token, first_row + e / 2 * 8, total[n][e]);
        }
    }
}

}  // namespace invar::cuda
