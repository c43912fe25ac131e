#include "cpu/linear_case.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <random>

#include "arithmetic/float_types.h"
#include "arithmetic/quantize.h"
#include "base/check.h"
#include "layout/record.h"
#include "layout/rows4.h"

namespace invar {
namespace {

using Random = std::mt19937_64;

uint16_t random_scale(WeightKind kind, Random& random) {
    const uint64_t bits = random();
    if (kind == WeightKind::extreme) {
        switch (bits >> 60 & 7) {
            case 0:
                return static_cast<uint16_t>(bits & 0x8000);  // +-0
            case 1:
                return static_cast<uint16_t>(bits & 0x83FF);  // subnormal
            case 2:
                return static_cast<uint16_t>(0x7BFF | (bits & 0x8000));  // +-65504
            case 3:
                return static_cast<uint16_t>(0x0400 | (bits & 0x8000));  // smallest normal
            default:
                break;
        }
    }
    const float magnitude = 0.0005f * (0.5f + static_cast<float>(bits >> 40) * 0x1p-24f);
    return f32_to_f16((bits & 1) != 0 && kind == WeightKind::extreme ? -magnitude : magnitude);
}

// Sets the floating scales of a block; the random bytes already there are the rest. Scales of one byte may be any.
void set_scales(const Format& format, std::byte* block, WeightKind kind, Random& random) {
    for (const ScaleField& field : format.scales) {
        std::byte* const at = block + field.offset;
        switch (field.kind) {
            case ScaleKind::f16: {
                const uint16_t bits = random_scale(kind, random);
                std::memcpy(at, &bits, 2);
                break;
            }
            case ScaleKind::bf16: {
                constexpr uint16_t kEdges[8] = {0x0000, 0x8000, 0x0001, 0x8080, 0x7F7F, 0xFF7F, 0x0080, 0x3F80};
                const bool edge = kind == WeightKind::extreme && random() % 2 == 0;
                const uint16_t bits = edge ? kEdges[random() % 8] : f32_to_bf16(f16_to_f32(random_scale(kind, random)));
                std::memcpy(at, &bits, 2);
                break;
            }
            case ScaleKind::f32: {
                const float scale = f16_to_f32(random_scale(kind, random)) * 1.0001f;
                std::memcpy(at, &scale, 4);
                break;
            }
            case ScaleKind::e8m0: {
                // Subnormal from 0 to 1; halves of 2^128 at 255.
                constexpr uint8_t kEdges[8] = {0, 1, 2, 3, 100, 253, 254, 255};
                *at = static_cast<std::byte>(kind == WeightKind::ordinary ? 110 + random() % 12 : kEdges[random() % 8]);
                break;
            }
            case ScaleKind::ue4m3:
                break;
        }
    }
}

void spoil_block(float* block, uint64_t kind, Random& random) {
    for (int i = 0; i < 32; ++i) {
        switch (kind) {
            case 0:
                block[i] = 0.0f;
                break;
            case 1:
                block[i] = -0.0f;
                break;
            case 2:
                block[i] *= 1e-32f;
                break;
            case 3:
                block[i] *= 1e-38f;
                break;  // subnormal
            case 4:
                block[i] *= 3e-30f;
                break;  // about the zero-block threshold
            case 5:
                block[i] = (random() & 1) != 0 ? 3.0f : -3.0f;
                break;  // every code +-127
            case 6:
                block[i] *= 1e30f;
                break;
            default:
                break;
        }
    }
}

}  // namespace

AlignedBytes aligned_bytes(int64_t count) {
    const size_t rounded = static_cast<size_t>((count + 63) / 64 * 64 + 64);
    auto* bytes = static_cast<std::byte*>(std::aligned_alloc(64, rounded));
    std::memset(bytes, 0, rounded);
    return AlignedBytes(bytes);
}

// Leaves NaN codes, each of which makes a whole row NaN, in a third of the rows and only where any bits are asked for.
void take_nan_codes(const Format& format, int64_t rows, int64_t columns, WeightKind kind,
                    std::vector<std::byte>& bytes) {
    const int64_t row_bytes = format.row_bytes(columns), scale = format.block_bytes - format.block_weights;
    for (int64_t row = 0; row < rows; ++row) {
        if (kind == WeightKind::any_bits && row % 3 == 0) continue;
        for (int64_t at = 0; at < row_bytes; ++at) {
            std::byte& code = bytes[static_cast<size_t>(row * row_bytes + at)];
            if (at % format.block_bytes >= scale && (code & std::byte{0x7F}) == std::byte{0x7F}) code ^= std::byte{1};
        }
    }
}

std::vector<std::byte> random_weights(const Format& format, int64_t rows, int64_t columns, WeightKind kind,
                                      uint64_t seed) {
    Random random(seed);
    std::vector<std::byte> bytes(static_cast<size_t>(rows * format.row_bytes(columns)));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() >> 13);
    if (describe(format.id).elements == Elements::e4m3) take_nan_codes(format, rows, columns, kind, bytes);
    if (columns % format.block_weights != 0) {
        for (size_t end = static_cast<size_t>(format.row_bytes(columns)); end <= bytes.size();
             end += static_cast<size_t>(format.row_bytes(columns)))
            bytes[end - static_cast<size_t>(format.block_bytes) + 3] &= std::byte{0xBF};  // of a binary32 scale
    }
    if (kind == WeightKind::any_bits) return bytes;
    for (size_t at = 0; at < bytes.size(); at += static_cast<size_t>(format.block_bytes)) {
        set_scales(format, bytes.data() + at, kind, random);
    }
    return bytes;
}

std::vector<std::byte> row_of_negative_zeros() {
    const Format& grid = format(FormatId::f8_e4m3_b128);
    std::vector<std::byte> row(static_cast<size_t>(grid.row_bytes(229)), std::byte{0});
    const auto fill = [&](size_t block, float scale, std::byte code, size_t count) {
        std::memcpy(row.data() + block * 132, &scale, sizeof(scale));
        std::memset(row.data() + block * 132 + 4, std::to_integer<int>(code), count);
    };
    fill(0, 0x1p-100f, std::byte{0x81}, 128);
    fill(1, -0x1p-100f, std::byte{0x01}, 229 - 128);
    return row;
}

std::vector<float> activations_of_negative_zeros() { return std::vector<float>(229, 0x1p-60f); }

void share_scales(const Format& format, int64_t rows, int64_t columns, std::byte* stored) {
    if (record_layout(format.id).scales != ScaleForm::f32_of_128) return;
    const int64_t row_bytes = format.row_bytes(columns);
    for (int64_t row = 0; row < rows; ++row) {
        for (int64_t at = 0; at < row_bytes; at += format.block_bytes)
            std::memcpy(stored + row * row_bytes + at, stored + row / 4 * 4 * row_bytes + at, 4);
    }
}

std::vector<float> random_activations(int64_t tokens, int64_t columns, uint64_t seed) {
    Random random(seed);
    std::normal_distribution<float> normal;
    std::vector<float> x(static_cast<size_t>(tokens * columns));
    for (float& value : x) value = normal(random);
    for (int64_t t = 0; t < tokens; ++t) {
        float* const row = x.data() + t * columns;
        switch (t % 6) {
            case 1:  // outliers
                for (int64_t k = 0; k < columns; k += 256) row[k + static_cast<int64_t>(random() % 32)] *= 100.0f;
                break;
            case 2:
            case 4:
                for (int64_t k = 0; k < columns; k += 32) spoil_block(row + k, random() % 12, random);
                break;
            case 3:
                for (int64_t k = 0; k < columns; ++k) row[k] = 5.0f;
                break;
            default:
                break;  // Gaussian
        }
        if (t % 31 == 30) std::memset(row, 0, static_cast<size_t>(columns) * sizeof(float));
    }
    return x;
}

std::vector<float> random_row_scales(int64_t rows, uint64_t seed) {
    Random random(seed);
    std::vector<float> scales(static_cast<size_t>(rows));
    for (float& scale : scales) scale = 0.01f * (0.5f + static_cast<float>(random() >> 40) * 0x1p-24f);
    return scales;
}

WeightMatrix LinearCase::matrix(StoredForm form) const {
    WeightMatrix weight;
    weight.format = format;
    weight.form = form;
    weight.rows = rows;
    weight.columns = columns;
    weight.data = form == StoredForm::rows4 ? packed.get() : stored.data();
    weight.scale = tensor_scale;
    weight.row_scales = row_scales.empty() ? nullptr : row_scales.data();
    return weight;
}

LinearCase make_case(const Format& format, int64_t rows, int64_t columns, int64_t tokens, WeightKind kind,
                     uint64_t seed, float tensor_scale) {
    LinearCase c;
    c.format = &format;
    c.rows = rows;
    c.columns = columns;
    c.tokens = tokens;
    c.tensor_scale = tensor_scale;
    if (seed % 3 == 0) c.row_scales = random_row_scales(rows, seed);
    const WeightMatrix weight = c.matrix(StoredForm::as_stored);
    c.stored = random_weights(format, rows, columns, kind, seed);
    c.packed = aligned_bytes(rows4_bytes(format, rows, columns));
    pack_rows4(format, c.stored.data(), rows, columns, 0, (rows + 3) / 4, c.packed.get());
    c.x = random_activations(tokens, columns, seed + 1);
    c.expected.resize(static_cast<size_t>(tokens * rows));
    std::vector<QuantizedBlock> blocks(static_cast<size_t>(columns / 32));
    for (int64_t t = 0; t < tokens; ++t) {
        quantize_row(c.x.data() + t * columns, columns, blocks.data());
        for (int64_t r = 0; r < rows; ++r) {
            const std::byte* row = c.stored.data() + r * format.row_bytes(columns);
            const float y = dot_quantized(format, row, blocks.data(), columns);
            c.expected[static_cast<size_t>(t * rows + r)] = scaled(weight, r, y);
        }
    }
    return c;
}

AlignedBytes prepare_case(const LinearCase& c, const LinearKernel& kernel, Isa isa) {
    const int64_t stride = activation_bytes(kernel.reads, c.columns);
    AlignedBytes prepared = aligned_bytes(c.tokens * stride);
    for (int64_t t = 0; t < c.tokens; ++t) {
        prepare_activations(kernel.reads, isa, c.x.data() + t * c.columns, c.columns, prepared.get() + t * stride);
    }
    return prepared;
}

void run_kernel(const LinearKernel& kernel, const WeightMatrix& weight, const std::byte* prepared, Range range,
                float* out, int64_t out_stride) {
    const AlignedBytes scratch = aligned_bytes(kLinearScratchBytes);
    LinearTask task;
    task.weight = &weight;
    task.activations = prepared + range.first_token * activation_bytes(kernel.reads, weight.columns);
    task.tokens = range.tokens;
    task.out = out;
    task.out_stride = out_stride;
    task.first_row = range.first_row;
    task.last_row = range.last_row;
    task.worker_scratch = scratch.get();
    kernel.run(task);
}

int64_t count_differences(const LinearCase& c, const float* out, int64_t out_stride, int64_t first_token,
                          int64_t tokens) {
    int64_t differ = 0;
    for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t r = 0; r < c.rows; ++r) {
            const float expected = c.expected[static_cast<size_t>((first_token + t) * c.rows + r)];
            const float got = out[t * out_stride + r];
            if (std::isnan(expected) && std::isnan(got)) continue;
            if (std::bit_cast<uint32_t>(expected) != std::bit_cast<uint32_t>(got)) ++differ;
        }
    }
    return differ;
}

std::vector<const LinearKernel*> runnable_kernels(StoredForm form) {
    const IsaSupport support = detect_isa();
    std::vector<const LinearKernel*> kernels;
    for (const LinearKernel& kernel : linear_kernels()) {
        const LinearProblem problem{FormatId::q8_0, form, 4, 256, 1};
        if (support.has(kernel.isa) && kernel.fits(problem)) kernels.push_back(&kernel);
    }
    return kernels;
}

std::vector<const Format*> quantized_formats() {
    std::vector<const Format*> chosen;
    for (const Format* format : formats()) {
        if (!format->is_float) chosen.push_back(format);
    }
    return chosen;
}

}  // namespace invar
