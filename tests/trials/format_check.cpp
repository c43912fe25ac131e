// The check of the trial "format" (format.py), built in its copy alone: the toy format is found by name, every kernel
// of the CPU and of the emulated device multiplies it like its definition, bit for bit, the audit reads its scales, and
// a GGUF file refuses it.
#include <gtest/gtest.h>

#include <cstdio>

#include "cuda/device_case.h"
#include "cuda/products.cuh"
#include "files/gguf_writer.h"
#include "proof/audit/block_scales.h"

namespace invar {
namespace {

const Format& toy() { return *find_format_by_name("toy"); }

TEST(TrialFormat, IsFastOnEveryInstructionSet) {
    ASSERT_NE(find_format_by_name("toy"), nullptr);
    int64_t compared = 0;
    int kernels = 0;
    for (const LinearKernel* kernel : runnable_kernels(StoredForm::rows4)) {
        if (kernel->isa == Isa::scalar && kernel->reads != ActivationForm::blocks) continue;
        for (const int64_t tokens : {1, 3, 70}) {
            const LinearCase c = make_case(toy(), 37, 1056, tokens, WeightKind::ordinary, 5);
            const AlignedBytes prepared = prepare_case(c, *kernel, kernel->isa);
            std::vector<float> out(static_cast<size_t>(tokens * 37));
            run_kernel(*kernel, c.matrix(StoredForm::rows4), prepared.get(), {0, tokens, 0, 37}, out.data(), 37);
            EXPECT_EQ(count_differences(c, out.data(), 37, 0, tokens), 0) << kernel->name;
            compared += tokens * 37;
        }
        ++kernels;
    }
    const LinearProblem problem{toy().id, StoredForm::rows4, 37, 1056, 1};
    EXPECT_NE(choose_linear_kernel(problem, Isa::avx2, "").isa, Isa::scalar);
    EXPECT_GE(kernels, 3);
    std::printf("toy: %d CPU kernels, %lld outputs equal\n", kernels, static_cast<long long>(compared));
}

TEST(TrialFormat, IsFastOnTheDevice) {
    const DeviceProduct p = make_product(toy(), 21, 1056, 9, WeightKind::ordinary, 4);
    int kernels = 0;
    for (const cuda::ProductKernel& kernel : cuda::product_kernels()) {
        if (!kernel.has(toy().id) || kernel.unordered == nullptr) continue;
        const EmulatedDevice device;
        const int64_t records = cuda::records_of(p.columns);
        const DeviceArray<uint8_t> x(p.tokens * records * int64_t{sizeof(cuda::ActivationRecord)});
        cuda::launch_quantise(device.stream(), {.x = p.x.constant(),
                                                .stride = p.columns,
                                                .columns = p.columns,
                                                .records = records,
                                                .tokens = p.tokens,
                                                .records_out = x.global(),
                                                .tiles = {}});
        const DeviceArray<float> out(p.tokens * p.rows);
        kernel.unordered(device.stream(), toy().id,
                         {.weights = p.packed.constant(),
                          .rows = p.rows,
                          .columns = p.columns,
                          .scales = p.scales(),
                          .activations = x.constant(),
                          .tokens = p.tokens,
                          .out = out.global(),
                          .out_stride = p.rows,
                          .inspector = device.inspector()});
        device.expect_no_fault();
        Comparison comparison;
        comparison.add(p.expected.data(), out.data(), p.tokens * p.rows);
        EXPECT_EQ(comparison.differ(), 0) << kernel.name;
        ++kernels;
    }
    EXPECT_GE(kernels, 1);
    EXPECT_EQ(cuda::choose_product({.format = toy().id, .rows = 4096, .columns = 1024, .tokens = 512}).name,
              "tiles_128");
    std::printf("toy: %d kernels of the emulated device that read rows, %lld outputs equal\n", kernels,
                static_cast<long long>(kernels * p.tokens * p.rows));
}

TEST(TrialFormat, IsKnownToTheAuditAndRefusedByGguf) {
    ASSERT_EQ(toy().scales.size(), 1u);
    std::byte block[22] = {};
    block[0] = std::byte{0x80};
    block[1] = std::byte{0x7F};
    const ScaleValue scale = read_scale(toy().scales.front(), block);
    EXPECT_TRUE(scale.reserved);
    EXPECT_EQ(describe(toy().scales.front(), scale), "d = 0x7F80 (inf)");
    GgufWriter writer;
    const int64_t shape[] = {4, 64};
    const Result<void> added = writer.add_tensor("w", toy(), shape);
    ASSERT_FALSE(added);
    std::printf("toy in GGUF: %s\n", added.error().message.c_str());
}

}  // namespace
}  // namespace invar
