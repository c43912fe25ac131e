// The AMX kernel gives the bits of the definition in every quantised format, its tile instructions emulated
// (linear_tile_unit_emulated.h). Where the CPU has AMX, linear_equality_test.cpp runs the kernel itself.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "arithmetic/quantize.h"
#include "cpu/activations.h"
#include "cpu/linear_case.h"
#include "cpu/linear_tiles_emulated.h"

namespace invar {
namespace {

constexpr LinearKernel kEmulated = {"amx_tiles, emulated", Isa::avx512, ActivationForm::strands, nullptr,
                                    linear_tiles_emulated};

struct Count {
    int64_t compared = 0, differ = 0;
};

// Rows [0, last_row) in `parts` ranges; guards behind each token's rows must stay.
void compare(const LinearCase& c, const std::byte* prepared, int64_t first_token, int64_t tokens, int parts,
             Count& count) {
    const int64_t stride = c.rows + 3, groups = (c.rows + kRowGroup - 1) / kRowGroup;
    std::vector<float> out(static_cast<size_t>(tokens * stride), 12345.0f);
    const WeightMatrix weight = c.matrix(StoredForm::rows4);
    for (int part = 0; part < parts; ++part) {
        const int64_t first = groups * part / parts * kRowGroup;
        const int64_t last = std::min(c.rows, groups * (part + 1) / parts * kRowGroup);
        if (first < last)
            run_kernel(kEmulated, weight, prepared, {first_token, tokens, first, last}, out.data(), stride);
    }
    const int64_t differ = count_differences(c, out.data(), stride, first_token, tokens);
    EXPECT_EQ(differ, 0) << c.format->name << " [" << c.rows << ", " << c.columns << "], " << tokens << " tokens from "
                         << first_token << ", " << parts << " ranges";
    for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t guard = c.rows; guard < stride; ++guard) {
            EXPECT_EQ(out[static_cast<size_t>(t * stride + guard)], 12345.0f) << c.format->name;
        }
    }
    count.compared += tokens * c.rows;
    count.differ += differ;
}

TEST(LinearAmx, EmulatedTilesGiveTheBitsOfTheDefinition) {
    if (!detect_isa().has(Isa::avx512)) GTEST_SKIP() << "the kernel around the tiles needs AVX-512";
    Count count;
    uint64_t seed = 5000;
    const EmulatedCounts before = emulated_counts();
    for (const Format* format : quantized_formats()) {
        // 6656 columns are 26 records: several chunks of K in every format.
        for (const int64_t columns : {32, 288, 768, 2560, 6656}) {
            if (columns % format->block_weights != 0) continue;
            for (const WeightKind kind : {WeightKind::ordinary, WeightKind::extreme, WeightKind::any_bits}) {
                if (columns > 768 && kind != WeightKind::extreme) continue;
                const int64_t rows = 1 + static_cast<int64_t>(++seed % 41);
                const LinearCase c = make_case(*format, rows, columns, 37, kind, seed);
                const AlignedBytes prepared = prepare_case(c, kEmulated, Isa::avx512);
                for (const int64_t tokens : {1, 3, 15, 16, 17, 32, 37}) {
                    compare(c, prepared.get(), static_cast<int64_t>(seed) % (38 - tokens), tokens, 1 + tokens % 3,
                            count);
                }
            }
        }
        const LinearCase many = make_case(*format, 20, 512, 290, WeightKind::ordinary, ++seed);
        const AlignedBytes prepared = prepare_case(many, kEmulated, Isa::avx512);
        for (const int64_t tokens : {128, 129, 290}) compare(many, prepared.get(), 0, tokens, 1, count);
    }
    const EmulatedCounts after = emulated_counts();
    std::printf("[equality] AMX tiles, emulated: %lld outputs compared, %lld differ, %zu formats, %lld tile products\n",
                static_cast<long long>(count.compared), static_cast<long long>(count.differ),
                quantized_formats().size(), static_cast<long long>(after.products - before.products));
    EXPECT_EQ(after.faults, 0);
    EXPECT_FALSE(after.configured);
    EXPECT_GT(count.compared, 300'000);
    EXPECT_EQ(count.differ, 0);
}

// A strand that starts one block late, in the form that only this kernel reads, must be seen.
TEST(LinearAmx, AWrongCodeOfOneTokenIsSeen) {
    if (!detect_isa().has(Isa::avx512)) GTEST_SKIP() << "the kernel around the tiles needs AVX-512";
    int caught = 0;
    for (const Format* format : quantized_formats()) {
        const LinearCase c = make_case(*format, 16, 512, 16, WeightKind::ordinary, 77);
        const AlignedBytes prepared = prepare_case(c, kEmulated, Isa::avx512);
        const int64_t row_bytes = activation_bytes(ActivationForm::strands, c.columns);
        auto& record = reinterpret_cast<LaneRecord*>(prepared.get() + 3 * row_bytes)[1];
        const int8_t right = record.q[200];
        record.q[200] = static_cast<int8_t>(right > 0 ? right - 100 : right + 100);
        std::vector<float> out(static_cast<size_t>(16 * c.rows));
        run_kernel(kEmulated, c.matrix(StoredForm::rows4), prepared.get(), {0, 16, 0, 16}, out.data(), c.rows);
        const int64_t differ = count_differences(c, out.data(), c.rows, 0, 16);
        EXPECT_GT(differ, 0) << format->name;
        EXPECT_LE(differ, 16) << format->name << ": only token 3 may change";
        caught += differ > 0;
    }
    EXPECT_EQ(caught, static_cast<int>(quantized_formats().size()));
}

TEST(Activations, StrandsAreLanesWithTheCodesInTheOrderOfColumns) {
    const std::vector<float> x = random_activations(3, 800, 4);
    const int64_t size = activation_bytes(ActivationForm::strands, 800);
    ASSERT_EQ(size, activation_bytes(ActivationForm::lanes, 800));
    int codes = 0;
    for (const Isa isa : detect_isa().all_supported()) {
        for (int token = 0; token < 3; ++token) {
            const float* row = x.data() + 800 * token;
            const AlignedBytes lanes = aligned_bytes(size), strands = aligned_bytes(size);
            prepare_activations(ActivationForm::lanes, isa, row, 800, lanes.get());
            prepare_activations(ActivationForm::strands, isa, row, 800, strands.get());
            std::vector<QuantizedBlock> blocks(25);
            quantize_row(row, 800, blocks.data());
            for (int64_t r = 0; r < 4; ++r) {
                const LaneRecord& a = reinterpret_cast<const LaneRecord*>(lanes.get())[r];
                const LaneRecord& b = reinterpret_cast<const LaneRecord*>(strands.get())[r];
                for (int64_t k = 0; k < 256; ++k) {
                    const int64_t column = 256 * r + k;
                    EXPECT_EQ(b.q[k], column < 800 ? blocks[static_cast<size_t>(column / 32)].q[column % 32] : 0);
                    ++codes;
                }
                EXPECT_EQ(std::memcmp(a.d, b.d, sizeof(LaneRecord) - sizeof(a.q)), 0) << "the rest is the same";
            }
        }
    }
    std::printf("[equality] strand activations: %d codes compared\n", codes);
}

}  // namespace
}  // namespace invar
