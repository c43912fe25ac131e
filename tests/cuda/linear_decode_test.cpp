// Decode kernels, every format: emulated results against dot_quantized() and dot_float() with ==, and a comparison that
// is shown to see errors.
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "cuda/product_formats.h"
#include "cuda/products.cuh"
#include "device_case.h"

namespace invar {
namespace {

using namespace cuda;

// Rows of the table that read activations row by row and have the format.
std::vector<const ProductKernel*> kernels_of(const Format& format) {
    std::vector<const ProductKernel*> kernels;
    for (const ProductKernel& kernel : product_kernels()) {
        if (kernel.unordered != nullptr && kernel.has(format.id)) kernels.push_back(&kernel);
    }
    return kernels;
}

// Runs the product with such a kernel, the table's last if none is given; [tokens, rows].
DeviceArray<float> decode(const EmulatedDevice& device, const DeviceProduct& p, const ProductKernel* kernel = nullptr) {
    if (kernel == nullptr) kernel = kernels_of(*p.format).back();
    const int64_t records = records_of(p.columns);
    DecodeArgs args{.weights = p.packed.constant(),
                    .rows = p.rows,
                    .columns = p.columns,
                    .scales = p.scales(),
                    .activations = {},
                    .tokens = p.tokens,
                    .out = {},
                    .out_stride = p.rows,
                    .inspector = device.inspector()};
    DeviceArray<float> out(p.tokens * p.rows);
    args.out = out.global();
    if (p.format->is_float) {
        const DeviceArray<float> x(p.tokens * records * kRecordColumns);
        launch_reorder(
            device.stream(),
            {.x = p.x.constant(), .stride = p.columns, .columns = p.columns, .records = records, .out = x.global()},
            p.tokens);
        args.activations = simt::global(reinterpret_cast<const uint8_t*>(x.data()), x.count() * 4);
        kernel->unordered(device.stream(), p.format->id, args);
        return out;
    }
    const DeviceArray<uint8_t> x(p.tokens * records * int64_t{sizeof(ActivationRecord)});
    launch_quantize(device.stream(), {.x = p.x.constant(),
                                      .stride = p.columns,
                                      .columns = p.columns,
                                      .records = records,
                                      .tokens = p.tokens,
                                      .records_out = x.global(),
                                      .tiles = {}});
    args.activations = x.constant();
    kernel->unordered(device.stream(), p.format->id, args);
    return out;
}

Comparison compare(const DeviceProduct& p, const DeviceArray<float>& out) {
    Comparison comparison;
    comparison.add(p.expected.data(), out.data(), p.tokens * p.rows);
    return comparison;
}

struct Shape {
    int64_t rows, columns, tokens;
};

// Whole and partial groups, spans and records; 1 to 16 tokens.
std::vector<Shape> shapes_of(const Format& format) {
    std::vector<Shape> shapes = {{5, 256, 1}, {7, 1280, 2}, {4, 2304, 3}, {3, 768, 8}, {18, 1024, 16}, {2, 512, 11}};
    if (format.block_weights <= 32) shapes.insert(shapes.end(), {{6, 32, 1}, {5, 1376, 4}, {3, 224, 5}});
    if (format.block_weights == 64) shapes.insert(shapes.end(), {{6, 64, 1}, {5, 1344, 4}});
    if (format.block_weights == 128) shapes.insert(shapes.end(), {{6, 128, 1}, {5, 1408, 4}});
    if (format.is_float) shapes.insert(shapes.end(), {{3, 1, 1}, {5, 333, 3}});
    return shapes;
}

TEST(CudaDecode, WhatStandsBehindTheLastColumnKeepsTheSignOfZero) {
    const Format& grid = format(FormatId::f8_e4m3_b128);
    DeviceProduct p = make_product(grid, 1, 229, 1, WeightKind::ordinary, 4);
    p.stored = row_of_negative_zeros();
    p.packed = pack_for_device(grid, p.stored.data(), 1, 229);
    p.x = DeviceArray<float>(activations_of_negative_zeros());
    for (const ProductKernel* kernel : kernels_of(grid)) {
        const EmulatedDevice device(simt::Emulator::Order::rising);
        const DeviceArray<float> out = decode(device, p, kernel);
        device.expect_no_fault();
        EXPECT_TRUE(out.data()[0] == 0 && std::signbit(out.data()[0])) << kernel->name << ": " << out.data()[0];
    }
}

TEST(CudaDecode, EqualsTheDefinitionForEveryFormatAndShape) {
    Comparison all;
    int64_t blocks = 0;
    uint64_t seed = 1;
    for (const Format* format : formats()) {
        Comparison of_format;
        for (const Shape& shape : shapes_of(*format)) {
            for (const WeightKind kind : {WeightKind::ordinary, WeightKind::extreme, WeightKind::any_bits}) {
                const EmulatedDevice device(seed % 2 == 0 ? simt::Emulator::Order::rising
                                                          : simt::Emulator::Order::falling);
                const DeviceProduct p = make_product(*format, shape.rows, shape.columns, shape.tokens, kind, ++seed);
                for (const ProductKernel* kernel : kernels_of(*format)) {
                    const DeviceArray<float> out = decode(device, p, kernel);
                    device.expect_no_fault();
                    EXPECT_EQ(compare(p, out).differ(), 0)
                        << kernel->name << " " << format->name << " " << shape.rows << " x " << shape.columns << ", "
                        << shape.tokens << " tokens";
                    of_format.add(p.expected.data(), out.data(), p.tokens * p.rows);
                    all.add(p.expected.data(), out.data(), p.tokens * p.rows);
                }
                blocks += device.emulator->blocks_run();
            }
        }
        of_format.print("CUDA decode " + std::string(format->name));
    }
    all.print("CUDA decode, all formats, " + std::to_string(blocks) + " blocks emulated");
    EXPECT_GT(all.compared(), 20'000);
    EXPECT_EQ(all.differ(), 0);
}

TEST(CudaDecode, PackingKeepsTheSizeItStates) {
    // 4 x 1024 Q4_K weights cost what they cost in a file; Q3_K costs 1.8 % more.
    EXPECT_EQ(device_weight_bytes(FormatId::q4_k, 4, 1024), 4 * 4 * 144);
    EXPECT_EQ(device_weight_bytes(FormatId::q6_k, 8, 2048), 8 * 8 * 210);
    EXPECT_EQ(device_weight_bytes(FormatId::q2_k, 4, 1024), 4 * 4 * 84);
    EXPECT_EQ(device_weight_bytes(FormatId::iq4_xs, 4, 1024), 4 * 4 * 136);
    EXPECT_EQ(device_weight_bytes(FormatId::q3_k, 4, 1024), 4 * 4 * 112);
    EXPECT_EQ(device_weight_bytes(FormatId::bf16, 4, 256), 4 * 256 * 2);
    EXPECT_EQ(device_weight_bytes(FormatId::f8_e4m3, 4, 256), 4 * 256);
    EXPECT_EQ(device_weight_bytes(FormatId::f8_e4m3_b128, 4, 1024), 4 * 1024 + 32);  // a grid's scales, once for 4 rows
    EXPECT_EQ(device_weight_bytes(FormatId::int4_g32, 4, 1024), 4 * 32 * 18);
    EXPECT_EQ(device_weight_bytes(FormatId::int4_g128, 4, 1024), 4 * 8 * 66);
}

TEST(CudaProducts, TheTableHasARowForEveryFormatAndEveryNumberOfTokens) {
    int64_t asked = 0;
    for (const Format* format : formats()) {
        EXPECT_TRUE(has_device_form(format->id) && has_products(format->id)) << format->name;
        for (const bool experts : {false, true}) {
            for (const int64_t tokens : {1, 8, 9, 48, 49, 64, 65, 512, 4096}) {
                for (const int64_t rows : {4, 1024, 65536}) {
                    const ProductKernel& kernel = choose_product(
                        {.format = format->id, .rows = rows, .columns = 1024, .tokens = tokens, .experts = experts});
                    EXPECT_TRUE(kernel.has(format->id));
                    EXPECT_NE(kernel.unordered == nullptr, kernel.tiled == nullptr) << kernel.name;
                    EXPECT_EQ(kernel.tile_tokens == 0, kernel.tiled == nullptr) << kernel.name;
                    ++asked;
                }
            }
        }
    }
    const auto named = [](FormatId id, int64_t rows, int64_t tokens, bool experts = false) {
        return choose_product({.format = id, .rows = rows, .columns = 1024, .tokens = tokens, .experts = experts}).name;
    };
    EXPECT_EQ(named(FormatId::q4_k, 4096, 8), "decode");
    EXPECT_EQ(named(FormatId::q4_k, 4096, 9), "tiles_16");
    EXPECT_EQ(named(FormatId::q4_k, 4096, 49), "tiles_64");
    EXPECT_EQ(named(FormatId::q4_k, 4096, 512), "tiles_128");
    EXPECT_EQ(named(FormatId::q4_k, 4096, 64, true), "decode");
    EXPECT_EQ(named(FormatId::q4_k, 4096, 65, true), "tiles_16");
    EXPECT_EQ(named(FormatId::f8_e4m3, 4096, 1), "float_decode");
    EXPECT_EQ(named(FormatId::f8_e4m3_b128, 4096, 512), "float_tiles_64");
    EXPECT_EQ(named(FormatId::bf16, 64, 512), "float_tiles_16");
    EXPECT_GT(asked, 1000);
}

// A swapped scale, a code of another column, a missing record, rows of a group exchanged: each must show.
TEST(CudaDecode, AWrongByteOfTheLayoutIsSeen) {
    Mutations mutations;
    for (const Format* format : formats()) {
        const EmulatedDevice device;
        DeviceProduct p = make_product(*format, 8, 1024, 2, WeightKind::ordinary, 77);
        ASSERT_EQ(compare(p, decode(device, p)).differ(), 0);
        const WeightLayout layout = weight_layout(format->id);
        const auto with_swap = [&](const char* what, int64_t a, int64_t b, int64_t bytes) {
            std::vector<uint8_t> kept(p.packed.data(), p.packed.data() + p.packed.count());
            std::swap_ranges(p.packed.data() + a, p.packed.data() + a + bytes, p.packed.data() + b);
            mutations.add((std::string(format->name) + ": " + what).c_str(), compare(p, decode(device, p)));
            std::memcpy(p.packed.data(), kept.data(), kept.size());
        };
        if (layout.has_grid()) {
            with_swap("scales of two halves of a record swapped", 0, 4, 4);
            with_swap("scales of two records swapped", 0, 8, 8);
        }
        if (layout.scale_bytes() != 0) {
            with_swap("scales of two strands swapped", 0, 4 * layout.scale_bytes(), layout.scale_bytes());
            with_swap("scales of two rows swapped", 0, layout.scale_bytes(), layout.scale_bytes());
        }
        if (layout.side_bytes() != 0 && !layout.has_grid())
            with_swap("superblock scales of two rows swapped", layout.side_at(), layout.side_at() + layout.side_bytes(),
                      layout.side_bytes());
        with_swap("codes of two strands swapped", layout.records_at(), layout.records_at() + 64, 16);
        with_swap("two records swapped", layout.records_at(), layout.records_at() + layout.record_bytes(),
                  layout.record_bytes());
        with_swap("two groups of rows swapped", 0, group_bytes(layout, 4), group_bytes(layout, 4));
    }
    mutations.print("CUDA weight layout");
    EXPECT_EQ(mutations.caught(), mutations.total());
    EXPECT_GT(mutations.total(), 70);
}

// The activation quantiser alone, byte for byte where quantize_row says so.
TEST(CudaDecode, QuantizesActivationsLikeTheDefinition) {
    Comparison comparison;
    for (const int64_t columns : {32, 256, 288, 1024, 2336}) {
        const int64_t tokens = 12, records = records_of(columns);
        std::vector<float> values = random_activations(tokens, columns, static_cast<uint64_t>(columns));
        values[0] = std::numeric_limits<float>::infinity();
        values[static_cast<size_t>(columns)] = std::nanf("");
        const EmulatedDevice device;
        const DeviceArray<float> x(values);
        const DeviceArray<uint8_t> out(tokens * records * int64_t{sizeof(ActivationRecord)});
        launch_quantize(device.stream(), {.x = x.constant(),
                                          .stride = columns,
                                          .columns = columns,
                                          .records = records,
                                          .tokens = tokens,
                                          .records_out = out.global(),
                                          .tiles = {}});
        device.expect_no_fault();
        std::vector<QuantizedBlock> blocks(static_cast<size_t>(columns / 32));
        for (int64_t t = 0; t < tokens; ++t) {
            quantize_row(values.data() + t * columns, columns, blocks.data());
            const auto* made = reinterpret_cast<const ActivationRecord*>(out.data()) + t * records;
            for (int64_t block = 0; block < columns / 32; ++block) {
                const ActivationRecord& record = made[block / 8];
                const QuantizedBlock& expected = blocks[static_cast<size_t>(block)];
                for (int half = 0; half < 2; ++half) {
                    comparison.add_exact(expected.q + 16 * half, record.q[half][block % 8], 16);
                    int32_t sum = 0;
                    for (int i = 0; i < 16; ++i) sum += expected.q[16 * half + i];
                    comparison.add_exact(&sum, &record.half_sum[half][block % 8], 1);
                }
                comparison.add(expected.d, record.d[block % 8]);
                comparison.add(expected.sx, record.sx[block % 8]);
            }
        }
    }
    comparison.print("CUDA activation blocks");
    EXPECT_EQ(comparison.differ(), 0);
    EXPECT_GT(comparison.compared(), 30'000);
}

}  // namespace
}  // namespace invar
