// Proves that the equality test sees errors. Each mutant makes a real kernel behave as a typical bug would (one wrong
// code, two scales swapped, a block skipped, the last row of a tile not computed, the strands added as a tree), and the
// comparison that linear_equality_test.cpp uses must see it, for every quantised format on every instruction set.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>

#include "cpu/activations.h"
#include "cpu/linear_case.h"
#include "layout/record.h"

namespace invar {
namespace {

constexpr int64_t kRows = 22, kColumns = 1024, kTokens = 8;

using Outputs = std::vector<float>;  // [kTokens, kRows]

Outputs run(const LinearCase& c, const LinearKernel& kernel, const std::byte* packed, const std::byte* prepared) {
    WeightMatrix weight = c.matrix(StoredForm::rows4);
    weight.data = packed;
    Outputs out(static_cast<size_t>(kTokens * kRows));
    run_kernel(kernel, weight, prepared, {0, kTokens, 0, kRows}, out.data(), kRows);
    return out;
}

AlignedBytes copy_of(const std::byte* bytes, int64_t count) {
    AlignedBytes copy = aligned_bytes(count);
    std::memcpy(copy.get(), bytes, static_cast<size_t>(count));
    return copy;
}

AlignedBytes packed_copy(const LinearCase& c) {
    return copy_of(c.packed.get(), rows4_bytes(*c.format, kRows, kColumns));
}

// The first record of the second row group, and its side piece.
uint8_t* some_record(const LinearCase& c, std::byte* packed) {
    const RecordLayout layout = record_layout(c.format->id);
    return reinterpret_cast<uint8_t*>(packed) + row_group_bytes(layout, kColumns) + sides_bytes(layout, kColumns);
}
uint8_t* some_side(const LinearCase& c, std::byte* packed) {
    return reinterpret_cast<uint8_t*>(packed) + row_group_bytes(record_layout(c.format->id), kColumns);
}

Outputs with_a_wrong_code(const LinearCase& c, const LinearKernel& kernel, const std::byte* prepared) {
    const AlignedBytes packed = packed_copy(c);
    some_record(c, packed.get())[37] ^= 1;  // row 1 of the group, one code
    return run(c, kernel, packed.get(), prepared);
}

// Swaps the scales of two neighbouring blocks of one row.
Outputs with_swapped_scales(const LinearCase& c, const LinearKernel& kernel, const std::byte* prepared) {
    const RecordLayout layout = record_layout(c.format->id);
    const AlignedBytes packed = packed_copy(c);
    const bool in_side = layout.scales == ScaleForm::iq4_xs || layout.scales == ScaleForm::e8m0;
    uint8_t* const scales = in_side ? some_side(c, packed.get()) : some_record(c, packed.get()) + layout.scales_at();
    const bool wide = layout.scales == ScaleForm::f16 || layout.scales == ScaleForm::f16_minimum ||
                      layout.scales == ScaleForm::six_bit;
    const int width = wide ? 2 : 1;
    // Two lanes of row 0 that differ, so that the swap is one.
    for (int lane = 0; lane < 7; ++lane) {
        uint8_t* const first = scales + width * lane;
        if (std::memcmp(first, first + width, static_cast<size_t>(width)) == 0) continue;
        std::swap_ranges(first, first + width, first + width);
        break;
    }
    return run(c, kernel, packed.get(), prepared);
}

// Makes a block of a token's prepared row a zero block.
void drop_block(const LinearKernel& kernel, std::byte* row, int64_t block) {
    if (kernel.reads == ActivationForm::blocks) {
        reinterpret_cast<QuantizedBlock*>(row)[block] = QuantizedBlock{};
        return;
    }
    LaneRecord& record = reinterpret_cast<LaneRecord*>(row)[block / kStrands];
    const int64_t b = block % kStrands;
    for (int64_t j = 0; j < 8; ++j) {
        const bool by_strand = kernel.reads == ActivationForm::strands;
        std::memset(record.q + (by_strand ? 32 * b + 4 * j : 32 * j + 4 * b), 0, 4);
    }
    record.d[b] = record.sx[b] = 0.0f;
    record.half_sum[0][b] = record.half_sum[1][b] = 0;
}

Outputs with_a_skipped_block(const LinearCase& c, const LinearKernel& kernel, const std::byte* prepared) {
    const int64_t stride = activation_bytes(kernel.reads, kColumns);
    const AlignedBytes fewer = copy_of(prepared, kTokens * stride);
    for (int64_t t = 0; t < kTokens; ++t) drop_block(kernel, fewer.get() + t * stride, 19);
    return run(c, kernel, c.packed.get(), fewer.get());
}

Outputs with_the_last_row_missing(const LinearCase& c, const LinearKernel& kernel, const std::byte* prepared) {
    Outputs out = run(c, kernel, c.packed.get(), prepared);
    for (int64_t t = 0; t < kTokens; ++t) {  // what stands there is of the row before
        out[static_cast<size_t>((t + 1) * kRows - 1)] = out[static_cast<size_t>((t + 1) * kRows - 2)];
    }
    return out;
}

// The eight strands of every output, each by the kernel itself with the other strands' blocks made zero.
std::vector<Outputs> strands_of(const LinearCase& c, const LinearKernel& kernel, const std::byte* prepared) {
    const int64_t stride = activation_bytes(kernel.reads, kColumns);
    std::vector<Outputs> strands;
    for (int64_t strand = 0; strand < kStrands; ++strand) {
        const AlignedBytes one = copy_of(prepared, kTokens * stride);
        for (int64_t t = 0; t < kTokens; ++t) {
            for (int64_t block = 0; block < kColumns / 32; ++block) {
                if (block % kStrands != strand) drop_block(kernel, one.get() + t * stride, block);
            }
        }
        strands.push_back(run(c, kernel, c.packed.get(), one.get()));
    }
    return strands;
}

Outputs with_a_tree_of_strands(const LinearCase& c, const LinearKernel& kernel, const std::byte* prepared) {
    const std::vector<Outputs> s = strands_of(c, kernel, prepared);
    Outputs out(s[0].size());
    for (size_t i = 0; i < out.size(); ++i) {
        out[i] = ((s[0][i] + s[4][i]) + (s[2][i] + s[6][i])) + ((s[1][i] + s[5][i]) + (s[3][i] + s[7][i]));
    }
    return out;
}

// Not a mutant: the strands added as the definition says. It must agree, or the tree proves nothing.
Outputs with_strands_in_order(const LinearCase& c, const LinearKernel& kernel, const std::byte* prepared) {
    const std::vector<Outputs> s = strands_of(c, kernel, prepared);
    Outputs out = s[0];
    for (size_t strand = 1; strand < s.size(); ++strand) {
        for (size_t i = 0; i < out.size(); ++i) out[i] = out[i] + s[strand][i];
    }
    return out;
}

struct Mutant {
    const char* name;
    Outputs (*run)(const LinearCase&, const LinearKernel&, const std::byte* prepared);
};
constexpr Mutant kMutants[] = {
    {"one wrong code", with_a_wrong_code},
    {"two scales swapped", with_swapped_scales},
    {"one block skipped", with_a_skipped_block},
    {"last row of the last tile missing", with_the_last_row_missing},
    {"strands added as a tree", with_a_tree_of_strands},
};

TEST(LinearMutation, EveryMutantOfEveryKernelIsSeen) {
    int caught = 0, total = 0;
    std::string kernels;
    for (const LinearKernel* kernel : runnable_kernels(StoredForm::rows4)) {
        kernels += (kernels.empty() ? "" : ", ") + std::string(kernel->name);
    }
    for (const Format* format : quantized_formats()) {
        const LinearCase c =
            make_case(*format, kRows, kColumns, kTokens, WeightKind::ordinary,
                      100 /* of those without row scales: the sum of scaled strands is another */, 1.0f);
        for (const LinearKernel* kernel : runnable_kernels(StoredForm::rows4)) {
            const AlignedBytes prepared = prepare_case(c, *kernel, kernel->isa);
            const Outputs sound = run(c, *kernel, c.packed.get(), prepared.get());
            EXPECT_EQ(count_differences(c, sound.data(), kRows, 0, kTokens), 0) << kernel->name << " " << format->name;
            const Outputs in_order = with_strands_in_order(c, *kernel, prepared.get());
            EXPECT_EQ(count_differences(c, in_order.data(), kRows, 0, kTokens), 0)
                << kernel->name << " " << format->name;
            for (const Mutant& mutant : kMutants) {
                const Outputs wrong = mutant.run(c, *kernel, prepared.get());
                const bool seen = count_differences(c, wrong.data(), kRows, 0, kTokens) > 0;
                EXPECT_TRUE(seen) << mutant.name << ": " << kernel->name << " " << format->name;
                caught += seen;
                ++total;
            }
        }
    }
    std::printf("[mutation] %d of %d mutants caught: %zu kinds x %zu formats x kernels (%s)\n", caught, total,
                std::size(kMutants), quantized_formats().size(), kernels.c_str());
    EXPECT_EQ(caught, total);
}

}  // namespace
}  // namespace invar
