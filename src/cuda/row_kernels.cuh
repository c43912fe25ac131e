// The verbs that work row by row: norms, additions, embeddings, choosing rows, and rope. Each equals the function of
// arithmetic/ that its comment names. A block computes one row or a part of one; no result depends on which. More of
// them that compute one element at a time are in element_kernels.cuh.
#pragma once

#include "arithmetic/elementary_steps.h"
#include "arithmetic/trigonometry_steps.h"
#include "cuda/failure.cuh"
#include "cuda/result_scales.cuh"
#include "cuda/weight_pieces.cuh"

namespace invar::cuda {

// A matrix of activations: row r at r * stride.
struct Rows {
    Global<float> data;
    int64_t stride = 0;

    SIMT_DEVICE Global<float> row(int64_t r) const { return data + r * stride; }
};

inline constexpr int kReduceThreads = 256;  // one thread per lane of the reduce law
inline constexpr int kPartThreads = 256;    // of element-by-element kernels

// The fold of the reduce law (arithmetic/reduce.h): each thread brings its lane, and all get the sum. lanes: [256], for
// one fold; a second fold would need a barrier before it.
SIMT_DEVICE float fold_lanes(float lane_sum, simt::Shared<float> lanes) {
    const int j = simt::thread_index();
    lanes[j] = lane_sum;
    simt::sync_block();
    if (j < 32) {
        // Halves 128, 64 and 32, for the lanes j, j + 32, j + 64 and j + 96 at once.
        float a[4];
        SIMT_UNROLL
        for (int i = 0; i < 4; ++i) a[i] = lanes[j + 32 * i] + lanes[j + 32 * i + 128];
        float sum = (a[0] + a[2]) + (a[1] + a[3]);
        // Lane j takes j + half; the lanes above compute values that nobody reads.
        for (int half = 16; half > 0; half /= 2) sum = sum + simt::shuffle_xor(sum, half);
        if (j == 0) lanes[0] = sum;  // only this thread has read it
    }
    simt::sync_block();
    return lanes[0];
}

// A norm of every group of `size` elements. Grid: (groups of a row, rows). x and y may be one.
struct NormArgs {
    Rows x, y;
    Global<const float> weight;  // element i of a row is multiplied by weight i mod weight_size; or empty
    int64_t weight_size = 0;     // a multiple of `size`
    Global<const float> bias;    // of a layer norm, as the weight; or empty
    int64_t size = 0;
    float epsilon = 0;
    Inspector inspector;
};

// The sum of squares of a group by the reduce law, of its elements minus `mean`.
SIMT_DEVICE float sum_of_squares(Global<const float> x, int64_t size, float mean, simt::Shared<float> lanes) {
    float lane = 0.0f;
    for (int64_t i = simt::thread_index(); i < size; i += kReduceThreads) {
        const float value = x[i] - mean;  // x - 0 is x, and the square of both zeros is one
        lane = simt::fma(value, value, lane);
    }
    return fold_lanes(lane, lanes);
}

// law::rms_norm, or law::l2_norm, whose root is of the sum and which has no weight.
template <bool kOfMean>
SIMT_KERNEL(kReduceThreads)
root_norm_kernel(NormArgs args) {
    SIMT_SHARED(float, lanes, kReduceThreads);
    const int64_t row = simt::block_index_y(), first = simt::block_index() * args.size;
    const Global<float> x = args.x.row(row) + first, y = args.y.row(row) + first;
    float square = sum_of_squares(x, args.size, 0.0f, lanes);
    if constexpr (kOfMean) square = simt::divide(square, static_cast<float>(args.size));
    const float r = simt::divide(1.0f, simt::square_root(square + args.epsilon));
    const bool has_weight = !simt::is_null(args.weight);
    const int64_t of_weight = has_weight ? first % args.weight_size : 0;
    for (int64_t i = simt::thread_index(); i < args.size; i += kReduceThreads) {
        float result = x[i] * r;
        if (has_weight) result = result * args.weight[of_weight + i];
        y[i] = result;
        inspect(args.inspector, row, first + i, result);
    }
}

// law::layer_norm
SIMT_KERNEL(kReduceThreads) layer_norm_kernel(NormArgs args) {
    SIMT_SHARED(float, lanes, kReduceThreads);
    SIMT_SHARED(float, square_lanes, kReduceThreads);
    const int64_t row = simt::block_index_y(), first = simt::block_index() * args.size;
    const Global<float> x = args.x.row(row) + first, y = args.y.row(row) + first;
    const float count = static_cast<float>(args.size);
    float lane = 0.0f;
    for (int64_t i = simt::thread_index(); i < args.size; i += kReduceThreads) lane = lane + x[i];
    const float mean = simt::divide(fold_lanes(lane, lanes), count);
    const float variance = simt::divide(sum_of_squares(x, args.size, mean, square_lanes), count);
    const float r = simt::divide(1.0f, simt::square_root(variance + args.epsilon));
    const int64_t of_weight = first % args.weight_size;
    const bool has_bias = !simt::is_null(args.bias);
    for (int64_t i = simt::thread_index(); i < args.size; i += kReduceThreads) {
        const float centred = x[i] - mean, weight = args.weight[of_weight + i];
        const float scaled = centred * r;
        float result = scaled * weight;
        if (has_bias) result = simt::fma(scaled, weight, args.bias[of_weight + i]);
        y[i] = result;
        inspect(args.inspector, row, first + i, result);
    }
}

// Computes out[r, i] from two operands. Grid: (parts of a row, rows).
struct ElementArgs {
    Rows a, b, out;
    int64_t width = 0;
    Inspector inspector;
};

// The verb add, and add_bias with a stride of 0 for b.
SIMT_KERNEL(kPartThreads) add_kernel(ElementArgs args) {
    const int64_t row = simt::block_index_y();
    const int64_t i = int64_t{simt::block_index()} * kPartThreads + simt::thread_index();
    if (i >= args.width) return;
    const float a = args.a.row(row)[i], b = args.b.row(row)[i];
    const float result = a + b;
    args.out.row(row)[i] = result;
    inspect(args.inspector, row, i, result);
}

// Copies the rows `rows` of x. Grid: (parts of a row, rows).
struct GatherArgs {
    Rows x, out;
    Global<const int32_t> rows;
    int64_t width = 0;
    Inspector inspector;
};

SIMT_KERNEL(kPartThreads) gather_kernel(GatherArgs args) {
    const int64_t row = simt::block_index_y();
    const int64_t i = int64_t{simt::block_index()} * kPartThreads + simt::thread_index();
    if (i >= args.width) return;
    const float value = args.x.row(args.rows[row])[i];
    args.out.row(row)[i] = value;
    inspect(args.inspector, row, i, value);
}

// ---- embeddings: weight() of the format for every column of a row's row of the table. Grid: (records, rows), 256
// threads.

struct EmbedArgs {
    Global<const uint8_t> weights;
    int64_t rows = 0, columns = 0;
    ResultScales scales;
    Global<const int32_t> from;  // the row of the table for each row: its token or its position
    int first = 0;               // 1: row 0 for every row
    Rows out;
    Inspector inspector;
};

// The value of column `column` of record `record` of a row.
template <FormatId kId>
SIMT_DEVICE float weight_at(Global<const uint8_t> group, int row, int64_t record, int column) {
    const int strand = column / 32, k = column % 32, lane = kGroupRows * strand + row;
    if constexpr (weight_layout(kId).is_float()) {
        using W = FloatWeights<kId>;
        constexpr int kOfChunk = 16 / W::kLayout.float_bytes();
        const auto place = group + (W::record_at(record) + 512 * (k / kOfChunk) + 16 * lane);
        float w[4];
        widen_four<kId>(simt::view<const Words4>(place)[0], k % kOfChunk / 4, w);
        const float value = k % 4 == 0 ? w[0] : k % 4 == 1 ? w[1] : k % 4 == 2 ? w[2] : w[3];
        if constexpr (!W::kHasFactor) return value;
        return value * W::factor(group, record, strand);
    } else {
        using W = Weights<kId>;
        const auto span = group + record / kSpanRecords * W::kSpanBytes;
        const int i = static_cast<int>(record % kSpanRecords), j = k / 4;
        uint32_t low = 0, high = 0;
        W::load_pair_of_groups(span + (W::kRecordsAt + i * W::kRecordBytes), lane, j % 4, low, high);
        const uint32_t codes = W::signed_codes(j < 4 ? low : high);
        RawScales raw = W::raw_scales(W::load_piece(span, lane), W::load_side(span, row, strand), i);
        W::read_superblock(span, i, row, raw);
        return W::value(W::block_scales(raw), static_cast<int8_t>(codes >> (8 * (k % 4))), k / 16);
    }
}

template <FormatId kId>
SIMT_KERNEL(kRecordColumns)
embed_kernel(EmbedArgs args) {
    const int64_t record = simt::block_index(), row = simt::block_index_y();
    const int64_t column = record * kRecordColumns + simt::thread_index();
    if (column >= args.columns) return;
    const int32_t from = args.first != 0 ? 0 : args.from[row];
    const int64_t bytes = group_bytes(weight_layout(kId), records_of(args.columns));
    const float value =
        weight_at<kId>(args.weights + from / kGroupRows * bytes, from % kGroupRows, record, simt::thread_index());
    const float result = scaled(args.scales, 0, from, args.rows, value);
    args.out.row(row)[column] = result;
    inspect(args.inspector, row, column, result);
}

// ---- rope

// RopeTable::angles on the device. Grid: (ceil(pairs / 64), rows), 64 threads. angles: [rows][2][pairs].
struct RopeAnglesArgs {
    Global<const double> frequencies;
    double attention_factor = 1;
    int pairs = 0;
    Global<const int32_t> positions;
    Global<float> angles;
};

SIMT_KERNEL(64) rope_angles_kernel(RopeAnglesArgs args) {
    const int64_t row = simt::block_index_y();
    const int i = simt::block_index() * 64 + simt::thread_index();
    if (i >= args.pairs) return;
    const double frequency = args.frequencies[i];
    const double angle = static_cast<double>(static_cast<int32_t>(args.positions[row])) * frequency;
    const Global<float> out = args.angles + row * 2 * args.pairs;
    out[i] = static_cast<float>(law::steps64::cos_of(angle) * args.attention_factor);
    out[args.pairs + i] = static_cast<float>(law::steps64::sin_of(angle) * args.attention_factor);
}

// law::rope on every head of every row. Grid: (heads, rows), 64 threads.
struct RopeArgs {
    Rows x;
    Global<const float> angles;
    int head_width = 0, pairs = 0;
    int rows_of_token = 1;  // consecutive rows of x that have one position
    int adjacent = 0;       // 1: pair i is elements 2 i, 2 i + 1; 0: i, i + pairs
    Inspector inspector;
};

SIMT_KERNEL(64) rope_kernel(RopeArgs args) {
    const int64_t row = simt::block_index_y(), element = int64_t{simt::block_index()} * args.head_width;
    const Global<float> head = args.x.row(row) + element;
    const Global<const float> angles = args.angles + row / args.rows_of_token * 2 * args.pairs;
    for (int i = simt::thread_index(); i < args.pairs; i += 64) {
        const int first = args.adjacent != 0 ? 2 * i : i, second = args.adjacent != 0 ? 2 * i + 1 : i + args.pairs;
        const float cosine = angles[i], sine = angles[args.pairs + i];
        const float x0 = head[first], x1 = head[second];
        const float y0 = simt::fma(-x1, sine, x0 * cosine), y1 = simt::fma(x0, sine, x1 * cosine);
        head[first] = y0;
        head[second] = y1;
        inspect(args.inspector, row, element + first, y0);
        inspect(args.inspector, row, element + second, y1);
    }
    for (int i = 2 * args.pairs + simt::thread_index(); i < args.head_width; i += 64)
        inspect(args.inspector, row, element + i, head[i]);
}

}  // namespace invar::cuda
