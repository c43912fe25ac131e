// Tile kernels, every format: emulated results against dot_quantized() and dot_float() with ==, and mistakes of the
// kind kernels have, each of which the comparison or the emulation must see.
#include <gtest/gtest.h>

#include <numeric>

#include "cuda/products.cuh"
#include "device_case.h"
#include "kernel_mutations.h"

namespace invar {
namespace {

using namespace cuda;

// Quantised activations for tiles, with their memory.
struct TileMemory {
    DeviceArray<uint8_t> q;
    DeviceArray<float> d, sx;
    DeviceArray<float> sum[2];
    DeviceArray<float> values;

    TileMemory(const Format& format, int64_t records, int64_t tokens)
        : q(format.is_float ? 0 : 8 * records * 2 * tokens * 16),
          d(8 * records * tokens),
          sx(8 * records * tokens),
          sum{DeviceArray<float>(8 * records * tokens), DeviceArray<float>(8 * records * tokens)},
          values(format.is_float ? records * kRecordColumns * tokens : 0),
          tokens_(tokens) {}
    TileActivations view() const {
        return {.q = q.global(),
                .d = d.global(),
                .sx = sx.global(),
                .sum = {sum[0].global(), sum[1].global()},
                .values = values.global(),
                .tokens = tokens_};
    }

  private:
    int64_t tokens_;
};

// Rows of the table that read tiles and have the format.
std::vector<const ProductKernel*> kernels_of(const Format& format) {
    std::vector<const ProductKernel*> kernels;
    for (const ProductKernel& kernel : product_kernels()) {
        if (kernel.tiled != nullptr && kernel.has(format.id)) kernels.push_back(&kernel);
    }
    return kernels;
}

DeviceArray<float> multiply(const EmulatedDevice& device, const DeviceProduct& p, const ProductKernel& kernel) {
    const int64_t records = records_of(p.columns), padded = (p.tokens + kTileTokens - 1) / kTileTokens * kTileTokens;
    const TileMemory x(*p.format, records, p.format->is_float ? p.tokens : padded);
    if (p.format->is_float) {
        launch_reorder(device.stream(),
                       {.x = p.x.constant(),
                        .stride = p.columns,
                        .columns = p.columns,
                        .records = records,
                        .out = x.values.global(),
                        .tile_tokens = p.tokens},
                       p.tokens);
    } else {
        launch_quantize(device.stream(), {.x = p.x.constant(),
                                          .stride = p.columns,
                                          .columns = p.columns,
                                          .records = records,
                                          .tokens = p.tokens,
                                          .records_out = {},
                                          .tiles = x.view()});
    }
    DeviceArray<float> out(p.tokens * p.rows);
    TileArgs args;
    args.weights = p.packed.constant();
    args.rows = p.rows;
    args.columns = p.columns;
    args.scales = p.scales();
    args.x = x.view();
    args.tokens = p.tokens;
    args.out = out.global();
    args.out_stride = p.rows;
    args.inspector = device.inspector();
    kernel.tiled(device.stream(), p.format->id, args, (p.tokens + kernel.tile_tokens - 1) / kernel.tile_tokens);
    return out;
}

Comparison compare(const DeviceProduct& p, const DeviceArray<float>& out) {
    Comparison comparison;
    comparison.add(p.expected.data(), out.data(), p.tokens * p.rows);
    return comparison;
}

TEST(CudaTiles, EqualTheDefinitionForEveryFormatAndShape) {
    struct Shape {
        int64_t rows, columns, tokens;
    };
    Comparison all;
    uint64_t seed = 500;
    for (const Format* format : formats()) {
        std::vector<Shape> shapes = {{64, 256, 16}, {70, 1280, 9}, {18, 2304, 70}, {5, 512, 33}, {5, 768, 130}};
        if (format->is_float) shapes = {{64, 256, 16}, {70, 640, 9}, {135, 384, 70}};
        if (format->is_float) shapes.insert(shapes.end(), {{135, 333, 70}, {3, 1, 1}});
        if (format->block_weights == 32) shapes.push_back({20, 1376, 17});
        if (format->block_weights == 64) shapes.push_back({20, 1344, 17});
        if (format->block_weights == 128) shapes.push_back({20, 1408, 17});
        const std::vector<const ProductKernel*> kernels = kernels_of(*format);
        ASSERT_FALSE(kernels.empty()) << format->name;
        Comparison of_format;
        for (const Shape& shape : shapes) {
            const auto kind = static_cast<WeightKind>(seed % 3);
            const EmulatedDevice device(seed % 2 == 0 ? simt::Emulator::Order::rising : simt::Emulator::Order::falling);
            const DeviceProduct p = make_product(*format, shape.rows, shape.columns, shape.tokens, kind, ++seed);
            const ProductKernel& kernel = *kernels[seed % kernels.size()];
            const DeviceArray<float> out = multiply(device, p, kernel);
            device.expect_no_fault();
            EXPECT_EQ(compare(p, out).differ(), 0) << kernel.name << " " << format->name << " " << shape.rows << " x "
                                                   << shape.columns << ", " << shape.tokens << " tokens";
            of_format.add(p.expected.data(), out.data(), p.tokens * p.rows);
            all.add(p.expected.data(), out.data(), p.tokens * p.rows);
        }
        of_format.print("CUDA tiles " + std::string(format->name));
    }
    all.print("CUDA tiles, all formats");
    EXPECT_EQ(all.differ(), 0);
    EXPECT_GT(all.compared(), 45'000);
}

const ProductKernel& small_tiles(const Format& format) { return *kernels_of(format).back(); }  // the table's last

// Each barrier left out, each shuffle mask without a lane, each wait for copies left out.
TEST(CudaTiles, EveryBrokenBarrierMaskAndWaitIsNoticed) {
    MutationCounts counts;
    for (const FormatId id : {FormatId::q4_k, FormatId::q6_k, FormatId::q2_k, FormatId::f32, FormatId::bf16}) {
        const bool is_float = format(id).is_float;
        const DeviceProduct p = make_product(format(id), 18, is_float ? 320 : 1280, 20, WeightKind::ordinary, 3);
        break_each_word(
            std::string(p.format->name),
            [&](const EmulatedDevice& device) { return compare(p, multiply(device, p, small_tiles(*p.format))); },
            counts);
    }
    print("CUDA tiles", counts);
    EXPECT_EQ(counts.missed, 0);
    EXPECT_GE(counts.total(), 20);
}

}  // namespace
}  // namespace invar
