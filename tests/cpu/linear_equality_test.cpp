// Every kernel of the table gives the bits of the definition, dot_quantized() over quantize_row() blocks: every
// quantised format, instruction set, width of K, batch, row split, and hostile input.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <set>
#include <string>

#include "cpu/linear_case.h"

namespace invar {
namespace {

struct Count {
    int64_t compared = 0, differ = 0, nan = 0;
};

void print_skipped() {
    const IsaSupport support = detect_isa();
    for (Isa isa : kAllIsas) {
        if (!support.has(isa)) {
            std::printf("[skipped ] %s: %s\n", std::string(isa_name(isa)).c_str(),
                        support.missing[static_cast<size_t>(isa)].c_str());
        }
    }
}

std::string describe(const LinearCase& c, const LinearKernel& kernel, int64_t tokens, int64_t first_token, int parts) {
    return std::string(kernel.name) + " " + std::string(c.format->name) + " [" + std::to_string(c.rows) + ", " +
           std::to_string(c.columns) + "], tokens " + std::to_string(first_token) + " to " +
           std::to_string(first_token + tokens) + ", " + std::to_string(parts) + " row ranges";
}

// Runs `tokens` tokens with the row groups split in `parts` ranges, and compares. Elements past the rows must stay.
void compare(const LinearCase& c, const LinearKernel& kernel, StoredForm form, const std::byte* prepared,
             int64_t first_token, int64_t tokens, int parts, Count& count) {
    constexpr int64_t kGuard = 5;
    const int64_t stride = c.rows + kGuard, groups = (c.rows + kRowGroup - 1) / kRowGroup;
    std::vector<float> out(static_cast<size_t>(tokens * stride), 12345.0f);
    const WeightMatrix weight = c.matrix(form);
    for (int part = 0; part < parts; ++part) {
        const int64_t first = groups * part / parts * kRowGroup;
        const int64_t last = std::min(c.rows, groups * (part + 1) / parts * kRowGroup);
        if (first >= last) continue;
        run_kernel(kernel, weight, prepared, {first_token, tokens, first, last}, out.data(), stride);
    }
    const int64_t differ = count_differences(c, out.data(), stride, first_token, tokens);
    EXPECT_EQ(differ, 0) << describe(c, kernel, tokens, first_token, parts);
    for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t g = 0; g < kGuard; ++g) {
            EXPECT_EQ(out[static_cast<size_t>(t * stride + c.rows + g)], 12345.0f)
                << "written past the rows: " << describe(c, kernel, tokens, first_token, parts);
        }
    }
    count.compared += tokens * c.rows;
    count.nan += std::count_if(out.begin(), out.end(), [](float y) { return std::isnan(y); });
    count.differ += differ;
}

bool allows(const Format& format, int64_t columns) { return columns % format.block_weights == 0; }

void print_equality(const char* what, const Count& count) {
    std::set<Isa> isas;
    for (const LinearKernel* kernel : runnable_kernels(StoredForm::rows4)) isas.insert(kernel->isa);
    std::printf("[equality] %s: %lld outputs compared, %lld differ, %zu formats x %zu instruction sets (%lld NaN)\n",
                what, static_cast<long long>(count.compared), static_cast<long long>(count.differ),
                quantized_formats().size(), isas.size(), static_cast<long long>(count.nan));
    EXPECT_LT(count.nan, count.compared / 3) << "too few numbers among the outputs";
    print_skipped();
}

#ifdef __SANITIZE_ADDRESS__
constexpr bool kReduced = true;
#else
constexpr bool kReduced = false;
#endif

TEST(LinearEquality, EveryWidthOfKGivesTheBitsOfTheDefinition) {
    Count count;
    uint64_t seed = 1;
    for (const Format* format : quantized_formats()) {
        for (int64_t columns : {32, 64, 96, 128, 224, 256, 288, 480, 512, 768, 1056, 2560, 4096, 9728, 14336, 15392}) {
            if (!allows(*format, columns) || (kReduced && columns > 1100)) continue;
            for (WeightKind kind :
                 {WeightKind::ordinary, WeightKind::extreme, WeightKind::any_bits, WeightKind::extreme}) {
                ++seed;
                const int64_t rows = columns > 4096 ? 13 : 1 + static_cast<int64_t>(seed % 29);
                const LinearCase c = make_case(*format, rows, columns, 11, kind, seed);
                for (const LinearKernel* kernel : runnable_kernels(StoredForm::rows4)) {
                    const AlignedBytes prepared = prepare_case(c, *kernel, kernel->isa);
                    for (int64_t tokens : {1, 2, 3, 4, 5, 11}) {
                        if (kernel->isa == Isa::scalar && tokens != 2) continue;
                        compare(c, *kernel, StoredForm::rows4, prepared.get(), (seed + tokens) % (12 - tokens), tokens,
                                1, count);
                    }
                }
            }
        }
    }
    print_equality("K 32 to 15392", count);
    EXPECT_GT(count.compared, kReduced ? 50'000 : 100'000);
}

TEST(LinearEquality, EveryBatchGivesTheBitsOfTheDefinition) {
    Count count;
    uint64_t seed = 1000;
    for (const Format* format : quantized_formats()) {
        for (int64_t columns : {288, 2560}) {
            const int64_t width = allows(*format, columns) ? columns : columns == 288 ? 256 : 2560;
            if (kReduced && width > 300) continue;
            const int64_t most = kReduced ? 33 : 512;
            const LinearCase c = make_case(*format, 23, width, most, WeightKind::extreme, ++seed);
            for (const LinearKernel* kernel : runnable_kernels(StoredForm::rows4)) {
                if (kernel->isa == Isa::scalar) continue;
                const AlignedBytes prepared = prepare_case(c, *kernel, kernel->isa);
                for (int64_t tokens : {1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 31, 32, 33, 64, 100, 128, 145, 256, 512}) {
                    if (tokens > most) continue;
                    const int64_t first = tokens == most ? 0 : static_cast<int64_t>(seed * 7 % (most - tokens));
                    compare(c, *kernel, StoredForm::rows4, prepared.get(), first, tokens, 1, count);
                }
            }
        }
    }
    print_equality("1 to 512 tokens", count);
    EXPECT_GT(count.compared, 10'000);
}

TEST(LinearEquality, EveryRowSplitGivesTheBitsOfTheDefinition) {
    Count count;
    uint64_t seed = 2000;
    for (const Format* format : quantized_formats()) {
        for (int64_t rows : {1, 2, 3, 4, 5, 31, 66, 131}) {
            const LinearCase c = make_case(*format, rows, 256 * 11, 9, WeightKind::ordinary, ++seed);
            for (const LinearKernel* kernel : runnable_kernels(StoredForm::rows4)) {
                if (kernel->isa == Isa::scalar) continue;
                const AlignedBytes prepared = prepare_case(c, *kernel, kernel->isa);
                for (int parts : {1, 2, 3, 4, 5, 7, 8}) {
                    compare(c, *kernel, StoredForm::rows4, prepared.get(), parts == 1 ? 0 : 3, parts == 1 ? 9 : 1,
                            parts, count);
                }
                compare(c, *kernel, StoredForm::rows4, prepared.get(), 0, 9, 3, count);
            }
            if (kReduced && rows > 4) break;
        }
    }
    print_equality("1 to 8 row ranges", count);
}

TEST(LinearEquality, LayersOfRealModelsGiveTheBitsOfTheDefinition) {
    if (kReduced) GTEST_SKIP() << "too slow under a sanitizer";
    Count count;
    uint64_t seed = 3000;
    struct Shape {
        int64_t rows, columns;
    };
    // Key and feed-forward slices of Qwen3-4B, down of an 8B; enough rows for several row blocks of the panel kernels.
    for (const Shape shape : {Shape{324, 2560}, Shape{140, 9728}, Shape{72, 14336}}) {
        for (const Format* format : quantized_formats()) {
            const LinearCase c = make_case(*format, shape.rows, shape.columns, 20, WeightKind::ordinary, ++seed);
            for (const LinearKernel* kernel : runnable_kernels(StoredForm::rows4)) {
                if (kernel->isa == Isa::scalar) continue;
                const AlignedBytes prepared = prepare_case(c, *kernel, kernel->isa);
                compare(c, *kernel, StoredForm::rows4, prepared.get(), 0, 1, 2, count);
                compare(c, *kernel, StoredForm::rows4, prepared.get(), 0, 20, 1, count);
            }
        }
    }
    print_equality("real layers", count);
}

TEST(LinearEquality, WeightsAsStoredGiveTheBitsOfTheDefinition) {
    Count count;
    uint64_t seed = 4000;
    for (const Format* format : quantized_formats()) {
        for (int64_t columns : {64, 512, 1056}) {
            const int64_t width = allows(*format, columns) ? columns : 768;
            const LinearCase c = make_case(*format, 7, width, 6, WeightKind::extreme, ++seed);
            for (StoredForm form : {StoredForm::as_stored, StoredForm::rows4}) {
                for (const LinearKernel* kernel : runnable_kernels(form)) {
                    const AlignedBytes prepared = prepare_case(c, *kernel, Isa::scalar);
                    compare(c, *kernel, form, prepared.get(), 0, 6, 2, count);
                }
            }
        }
    }
    print_equality("both stored forms", count);
}

TEST(LinearEquality, TokenOfABatchEqualsTheTokenAlone) {
    int64_t compared = 0;
    for (const Format* format : quantized_formats()) {
        const LinearCase c = make_case(*format, 18, 1024, 37, WeightKind::ordinary, 5000);
        const WeightMatrix weight = c.matrix(StoredForm::rows4);
        for (const LinearKernel* kernel : runnable_kernels(StoredForm::rows4)) {
            if (kernel->isa == Isa::scalar) continue;
            const AlignedBytes prepared = prepare_case(c, *kernel, kernel->isa);
            std::vector<float> batch(static_cast<size_t>(37 * 18)), alone(18);
            run_kernel(*kernel, weight, prepared.get(), {0, 37, 0, 18}, batch.data(), 18);
            for (int64_t t = 0; t < 37; ++t) {
                run_kernel(*kernel, weight, prepared.get(), {t, 1, 0, 18}, alone.data(), 18);
                EXPECT_EQ(std::memcmp(alone.data(), batch.data() + t * 18, 18 * sizeof(float)), 0)
                    << kernel->name << " " << format->name << " token " << t;
                compared += 18;
            }
        }
    }
    std::printf("[equality] token of a batch = token alone: %lld outputs compared\n", static_cast<long long>(compared));
}

TEST(LinearEquality, NonFiniteActivationMakesItsTokenNaNAndNoOther) {
    for (const Format* format : quantized_formats()) {
        LinearCase c = make_case(*format, 6, 512, 5, WeightKind::ordinary, 6000);
        for (const LinearKernel* kernel : runnable_kernels(StoredForm::rows4)) {
            for (float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
                LinearCase spoiled = make_case(*format, 6, 512, 5, WeightKind::ordinary, 6000);
                spoiled.x[2 * 512 + 300] = bad;
                const AlignedBytes prepared = prepare_case(spoiled, *kernel, kernel->isa);
                std::vector<float> out(30);
                run_kernel(*kernel, c.matrix(StoredForm::rows4), prepared.get(), {0, 5, 0, 6}, out.data(), 6);
                for (int64_t t = 0; t < 5; ++t) {
                    for (int64_t r = 0; r < 6; ++r) {
                        EXPECT_EQ(std::isnan(out[static_cast<size_t>(t * 6 + r)]), t == 2) << kernel->name;
                    }
                }
            }
        }
    }
}

}  // namespace
}  // namespace invar
