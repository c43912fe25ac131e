// Products of f32, f16 and bf16 weights against dot_float (formats/format.h): every kernel, ragged rows and columns.
#include "cpu/float_products.h"

#include <gtest/gtest.h>

#include <cstring>

#include "comparison.h"

namespace invar {
namespace {

struct Kernel {
    const char* name;
    Isa isa;
    ActivationForm reads;
    void (*run)(const LinearTask&);
};
constexpr Kernel kKernels[] = {{"scalar", Isa::scalar, ActivationForm::rows, float_product_scalar},
                               {"avx2", Isa::avx2, ActivationForm::float_lanes, float_product_avx2},
                               {"avx512", Isa::avx512, ActivationForm::float_lanes, float_product_avx512}};

class AlignedBytes {
  public:
    explicit AlignedBytes(int64_t bytes) : memory_(static_cast<size_t>(bytes) + 64) {
        data_ = memory_.data() + (64 - reinterpret_cast<uintptr_t>(memory_.data()) % 64) % 64;
    }
    std::byte* data() { return data_; }

  private:
    std::vector<std::byte> memory_;
    std::byte* data_;
};

// Weights of each format that are finite, some of them subnormal or zero of either sign.
std::vector<std::byte> make_weights(std::mt19937& random, const Format& format, int64_t rows, int64_t columns) {
    const std::vector<float> values = make_inputs(random, rows * columns, Inputs::hard);
    std::vector<std::byte> stored(static_cast<size_t>(format.row_bytes(columns) * rows));
    format.encode(values.data(), rows * columns, nullptr, stored.data());
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
    AlignedBytes packed(rows4_bytes(format_of, rows, columns));
    pack_rows4(format_of, stored.data(), rows, columns, 0, (rows + 3) / 4, packed.data());
    const WeightMatrix weight{.id = {},
                              .format = &format_of,
                              .form = shape.form,
                              .rows = rows,
                              .columns = columns,
                              .data = shape.form == StoredForm::rows4 ? packed.data() : stored.data(),
                              .bytes = 0};
    const int64_t bytes = activation_bytes(kernel.reads, columns), stride = rows + 3;
    AlignedBytes activations(bytes * tokens), scratch(kLinearScratchBytes);
    const std::vector<float> x = make_inputs(random, columns * tokens, Inputs::hard);
    for (int64_t t = 0; t < tokens; ++t) {
        prepare_activations(kernel.reads, Isa::scalar, x.data() + t * columns, columns, activations.data() + t * bytes);
    }
    std::vector<float> out(static_cast<size_t>(tokens * stride), 5.5f);
    const int64_t middle = rows / 2 / 4 * 4;
    for (const auto& [first, last] : {std::pair{int64_t{0}, middle}, std::pair{middle, rows}}) {
        if (first == last) continue;
        kernel.run({.weight = &weight,
                    .activations = activations.data(),
                    .tokens = tokens,
                    .out = out.data(),
                    .out_stride = stride,
                    .first_row = first,
                    .last_row = last,
                    .worker_scratch = scratch.data()});
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

TEST(FloatProducts, EqualTheDefinitionForEveryFormatShapeAndTokenCount) {
    for (const Kernel& kernel : kKernels) {
        if (!detect_isa().has(kernel.isa)) continue;
        std::mt19937 random(21);
        Comparison comparison;
        int64_t shapes = 0;
        for (const FormatId id : {FormatId::f32, FormatId::f16, FormatId::bf16}) {
            for (const int64_t columns : {1, 31, 32, 33, 255, 256, 257, 300, 512, 1000}) {
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
