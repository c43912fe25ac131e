// Products of float weights against dot_float (formats/format.h): every kernel, ragged rows and columns.
#include "cpu/float_products.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "cpu/comparison.h"
#include "cpu/linear_case.h"
#include "machine/avx512_vbmi.h"

namespace invar {
namespace {

struct Kernel {
    const char* name;
    Isa isa;
    ActivationForm reads;
    void (*run)(const LinearTask&);
    bool needs_vbmi = false;

    bool runs_here() const { return detect_isa().has(isa) && (!needs_vbmi || has_avx512_vbmi()); }
};
constexpr Kernel kKernels[] = {
    {"scalar", Isa::scalar, ActivationForm::rows, float_product_scalar},
    {"avx2", Isa::avx2, ActivationForm::float_lanes, float_product_avx2},
    {"avx512", Isa::avx512, ActivationForm::float_lanes, float_product_avx512},
    {"avx512 vbmi", Isa::avx512, ActivationForm::float_lanes, float_product_avx512_vbmi, true}};

// Weights of each format, some of them subnormal or zero of either sign.
std::vector<std::byte> make_weights(std::mt19937& random, const Format& format, int64_t rows, int64_t columns) {
    if (format.block_bytes != 2 && format.block_bytes != 4 && random() % 2 == 0) {  // FP8 codes of every value, NaN too
        auto stored = random_weights(format, rows, columns,
                                     random() % 2 == 0 ? WeightKind::ordinary : WeightKind::any_bits, random());
        share_scales(format, rows, columns, stored.data());
        return stored;
    }
    const std::vector<float> values = make_inputs(random, rows * columns, Inputs::hard);
    std::vector<std::byte> stored(static_cast<size_t>(format.row_bytes(columns) * rows));
    for (int64_t row = 0; row < rows; ++row)
        format.encode(values.data() + row * columns, columns, nullptr, stored.data() + row * format.row_bytes(columns));
    share_scales(format, rows, columns, stored.data());
    return stored;
}

struct Shape {
    FormatId format;
    StoredForm form;
    int64_t rows, columns, tokens;
};

// One product in two ranges of rows, as threads take them, against dot_float.
void compare_product(std::mt19937& random, const Kernel& kernel, const Shape& shape, Comparison& comparison) {
    const Format& format_of = format(shape.format);
    const int64_t rows = shape.rows, columns = shape.columns, tokens = shape.tokens;
    const auto stored = make_weights(random, format_of, rows, columns);
    const AlignedBytes packed = aligned_bytes(rows4_bytes(format_of, rows, columns));
    pack_rows4(format_of, stored.data(), rows, columns, 0, (rows + 3) / 4, packed.get());
    const WeightMatrix weight{.id = {},
                              .format = &format_of,
                              .form = shape.form,
                              .rows = rows,
                              .columns = columns,
                              .data = shape.form == StoredForm::rows4 ? packed.get() : stored.data(),
                              .bytes = 0};
    const int64_t bytes = activation_bytes(kernel.reads, columns), stride = rows + 3;
    const AlignedBytes activations = aligned_bytes(bytes * tokens), scratch = aligned_bytes(kLinearScratchBytes);
    const std::vector<float> x = make_inputs(random, columns * tokens, Inputs::hard);
    for (int64_t t = 0; t < tokens; ++t) {
        prepare_activations(kernel.reads, Isa::scalar, x.data() + t * columns, columns, activations.get() + t * bytes);
    }
    std::vector<float> out(static_cast<size_t>(tokens * stride), 5.5f);
    const int64_t middle = rows / 2 / 4 * 4;
    for (const auto& [first, last] : {std::pair{int64_t{0}, middle}, std::pair{middle, rows}}) {
        if (first == last) continue;
        kernel.run({.weight = &weight,
                    .activations = activations.get(),
                    .tokens = tokens,
                    .out = out.data(),
                    .out_stride = stride,
                    .first_row = first,
                    .last_row = last,
                    .worker_scratch = scratch.get()});
    }
    for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t row = 0; row < rows; ++row) {
            const std::byte* weights = stored.data() + row * format_of.row_bytes(columns);
            comparison.add(dot_float(format_of, weights, x.data() + t * columns, columns),
                           out[static_cast<size_t>(t * stride + row)]);
        }
        for (int64_t row = rows; row < stride; ++row) EXPECT_EQ(out[static_cast<size_t>(t * stride + row)], 5.5f);
    }
}

TEST(FloatProducts, WhatStandsBehindTheLastColumnKeepsTheSignOfZero) {
    const Format& grid = format(FormatId::f8_e4m3_b128);
    const std::vector<std::byte> stored = row_of_negative_zeros();
    const std::vector<float> x = activations_of_negative_zeros();
    const AlignedBytes packed = aligned_bytes(rows4_bytes(grid, 1, 229)), scratch = aligned_bytes(kLinearScratchBytes);
    pack_rows4(grid, stored.data(), 1, 229, 0, 1, packed.get());
    const WeightMatrix weight{
        .format = &grid, .form = StoredForm::rows4, .rows = 1, .columns = 229, .data = packed.get()};
    int kernels = 0;
    for (const Kernel& kernel : kKernels) {
        if (!kernel.runs_here()) continue;
        const AlignedBytes activations = aligned_bytes(activation_bytes(kernel.reads, 229));
        prepare_activations(kernel.reads, Isa::scalar, x.data(), 229, activations.get());
        float y = 1;
        kernel.run({.weight = &weight,
                    .activations = activations.get(),
                    .tokens = 1,
                    .out = &y,
                    .out_stride = 1,
                    .first_row = 0,
                    .last_row = 1,
                    .worker_scratch = scratch.get()});
        EXPECT_TRUE(y == 0 && std::signbit(y)) << kernel.name << ": " << y;
        ++kernels;
    }
    EXPECT_GT(kernels, 0);
}

TEST(FloatProducts, EqualTheDefinitionForEveryFormatShapeAndTokenCount) {
    for (const Kernel& kernel : kKernels) {
        if (!kernel.runs_here()) continue;
        std::mt19937 random(21);
        Comparison comparison;
        int64_t shapes = 0;
        for (const Format* format_of : formats()) {
            if (!format_of->is_float) continue;
            const FormatId id = format_of->id;
            for (const int64_t columns : {1, 31, 32, 33, 128, 255, 256, 257, 300, 384, 512, 1000}) {
                for (const int64_t rows : {1, 3, 4, 5, 12}) {
                    for (const int64_t tokens : {1, 2, 3, 7, 8, 9, 17}) {
                        for (const StoredForm form : {StoredForm::as_stored, StoredForm::rows4}) {
                            if (form == StoredForm::as_stored && kernel.isa != Isa::scalar) continue;
                            compare_product(random, kernel, {id, form, rows, columns, tokens}, comparison);
                            ++shapes;
                        }
                    }
                }
            }
        }
        EXPECT_EQ(comparison.differ(), 0) << kernel.name;
        comparison.print(std::string("float products, ") + kernel.name + ", " + std::to_string(shapes) + " shapes");
    }
}

}  // namespace
}  // namespace invar
