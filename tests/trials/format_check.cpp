// The check of the trial "format" (format.py), built in its copy alone beside tests/cuda/linear_decode_test.cpp and
// linear_tiles_test.cpp, which walk the formats: here the toy is fast on every instruction set, every kernel multiplies
// it like its definition, bit for bit, and the device has a kernel for each number of tokens.
#include <gtest/gtest.h>

#include <cstdio>
#include <set>

#include "cpu/comparison.h"
#include "cpu/linear_case.h"
#include "cuda/products.cuh"

namespace invar {
namespace {

const Format& toy() { return *find_format_by_name("toy"); }

TEST(TrialFormat, IsFastOnEveryInstructionSet) {
    ASSERT_NE(find_format_by_name("toy"), nullptr);
    Comparison all;
    std::set<Isa> sets;
    for (const LinearKernel* kernel : runnable_kernels(StoredForm::rows4)) {
        if (kernel->isa == Isa::scalar && kernel->reads != ActivationForm::blocks) continue;
        for (const int64_t tokens : {1, 3, 70}) {
            for (const WeightKind kind : {WeightKind::ordinary, WeightKind::extreme, WeightKind::any_bits}) {
                const LinearCase c = make_case(toy(), 37, 1056, tokens, kind, 5);
                const AlignedBytes prepared = prepare_case(c, *kernel, kernel->isa);
                std::vector<float> out(static_cast<size_t>(tokens * 37));
                run_kernel(*kernel, c.matrix(StoredForm::rows4), prepared.get(), {0, tokens, 0, 37}, out.data(), 37);
                all.add(c.expected.data(), out.data(), tokens * 37);
            }
        }
        sets.insert(kernel->isa);
    }
    EXPECT_EQ(all.differ(), 0);
    std::set<Isa> expected;
    for (const Isa isa : supported_isas()) expected.insert(isa);
    EXPECT_EQ(sets, expected);
    for (const Isa isa : supported_isas()) {
        if (isa == Isa::scalar) continue;
        const LinearProblem problem{toy().id, StoredForm::rows4, 37, 1056, 1};
        EXPECT_NE(choose_linear_kernel(problem, isa, "").isa, Isa::scalar) << isa_name(isa);
    }
    all.print("toy on the kernels of " + std::to_string(sets.size()) + " instruction sets");
}

TEST(TrialFormat, HasAKernelOfTheDeviceForEveryNumberOfTokens) {
    for (const int64_t tokens : {1, 9, 49, 512}) {
        const auto chosen = cuda::choose_product({.format = toy().id, .rows = 4096, .columns = 1024, .tokens = tokens});
        EXPECT_TRUE(chosen.has(toy().id)) << tokens;
    }
    EXPECT_EQ(cuda::choose_product({.format = toy().id, .rows = 4096, .columns = 1024, .tokens = 512}).name,
              "tiles_128");
}

}  // namespace
}  // namespace invar
