// Activations in the layouts that product kernels read. They equal those of quantize_row (arithmetic/quantize.h), in
// the order of ActivationRecord (weight_layout.h) for the decode kernels and, for tiles, strand by strand with tokens
// side by side.
#pragma once

#include "cuda/simt.h"
#include "cuda/weight_layout.h"

namespace invar::cuda {

// For tiles: planes over [8 strands][records][...][padded tokens], so that a tile's tokens are neighbours.
struct TileActivations {
    simt::Global<uint8_t> q;     // [strand][record][half][token][16]
    simt::Global<float> d, sx;   // [strand][record][token]
    simt::Global<float> sum[2];  // [strand][record][token]: sums of the codes of a half
    simt::Global<float> values;  // in place of these for float weights: [strand][record][8 chunks of 4][token][4]
    int64_t tokens = 0;          // padded to a multiple of kTileTokens with rows of zeros
};

struct QuantizeArgs {
    simt::Global<const float> x;
    int64_t stride = 0, columns = 0, records = 0;
    int64_t tokens = 0;
    simt::Global<uint8_t> records_out;  // [tokens][records] ActivationRecord, or null
    TileActivations tiles;              // or null
};

// Eight lanes quantise a block of 32, four columns each. Grid: (records, tokens or padded tokens), 64 threads.
SIMT_KERNEL(64) quantize_kernel(QuantizeArgs args) {
    const int64_t record = simt::block_index(), token = simt::block_index_y();
    const int strand = simt::thread_index() / 8, part = simt::thread_index() % 8;
    const int64_t first = record * kRecordColumns + 32 * strand + 4 * part;
    const bool exists = first < args.columns && token < args.tokens;
    float x[4] = {};
    uint32_t largest = 0;
    for (int i = 0; i < 4; ++i) {
        if (exists) x[i] = args.x[token * args.stride + first + i];
        // The bits of |x| order like the values, with infinity and NaN above every finite one.
        const uint32_t magnitude = simt::as_bits(x[i]) & 0x7FFFFFFFu;
        largest = magnitude > largest ? magnitude : largest;
    }
    for (int bits = 1; bits < 8; bits *= 2) {
        const uint32_t other = simt::shuffle_xor(largest, bits);
        largest = other > largest ? other : largest;
    }
    const float amax = simt::as_float(largest);
    const bool finite = largest < 0x7F800000u;
    const bool zero = !finite || amax < 1e-30f;  // kZeroBlockBelow
    const float inverse = simt::divide(127.0f, zero ? 1.0f : amax);
    uint32_t codes = 0;
    int32_t sum = 0;
    for (int i = 0; i < 4; ++i) {
        const int32_t code = zero ? 0 : static_cast<int32_t>(simt::round_to_even(x[i] * inverse));
        codes |= (static_cast<uint32_t>(code) & 0xFFu) << (8 * i);
        sum += code;
    }
    sum += simt::shuffle_xor(sum, 1);
    sum += simt::shuffle_xor(sum, 2);  // of half a block
    const int32_t other_half = simt::shuffle_xor(sum, 4);
    float d = zero ? 0.0f : simt::divide(amax, 127.0f);
    float sx = d * static_cast<float>(sum + other_half);
    if (!finite) d = sx = simt::as_float(0x7FC00000u);
    if (first >= args.columns) d = sx = -0.0f;  // fma(+0 * -0, 0, s) = s, also for s = -0
    const int half = part / 4;

    if (!simt::is_null(args.records_out)) {
        const auto out =
            args.records_out + (token * args.records + record) * static_cast<int64_t>(sizeof(ActivationRecord));
        simt::view<uint32_t>(out)[(half * 8 + strand) * 4 + part % 4] = codes;
        if (part == 0) {
            simt::view<float>(out)[64 + strand] = d;
            simt::view<float>(out)[72 + strand] = sx;
        }
        if (part % 4 == 0) simt::view<int32_t>(out)[80 + 8 * half + strand] = sum;
        return;
    }
    const int64_t row = strand * args.records + record, tokens = args.tiles.tokens;
    simt::view<uint32_t>(args.tiles.q)[((row * 2 + half) * tokens + token) * 4 + part % 4] = codes;
    if (part == 0) {
        args.tiles.d[row * tokens + token] = d;
        args.tiles.sx[row * tokens + token] = sx;
    }
    if (part % 4 == 0) args.tiles.sum[half][row * tokens + token] = static_cast<float>(sum);
}

// Reorders float rows to the order in which lanes read them: [record][8 chunks of 4][strand][4 floats], or that of
// TileActivations::values. Columns past the end of K become -0, so that fma(+0, -0, s) = s. Grid: (records, tokens),
// 256 threads.
struct ReorderArgs {
    simt::Global<const float> x;
    int64_t stride = 0, columns = 0, records = 0;
    simt::Global<float> out;  // [tokens][records][256], or for tiles
    int64_t tile_tokens = 0;  // the number of tokens if for tiles
};

SIMT_KERNEL(256) reorder_kernel(ReorderArgs args) {
    const int64_t record = simt::block_index(), token = simt::block_index_y();
    const int i = simt::thread_index();
    const int64_t column = record * kRecordColumns + i;
    const int strand = i / 32, chunk = i % 32 / 4;
    float value = -0.0f;
    if (column < args.columns) value = args.x[token * args.stride + column];
    int64_t quad = (token * args.records + record) * 64 + 8 * chunk + strand;
    if (args.tile_tokens != 0) quad = ((strand * args.records + record) * 8 + chunk) * args.tile_tokens + token;
    args.out[4 * quad + i % 4] = value;
}

}  // namespace invar::cuda
