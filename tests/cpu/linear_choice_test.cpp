// Which row of the kernel table is chosen, and that activations are prepared to the same bytes on every instruction
// set.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>

#include "arithmetic/quantize.h"
#include "cpu/activations.h"
#include "cpu/linear_case.h"

namespace invar {
namespace {

std::string_view chosen(FormatId format, StoredForm form, int64_t tokens, Isa highest, std::string_view forced = "") {
    return choose_linear_kernel({format, form, 64, 256, tokens}, highest, forced).name;
}

TEST(LinearChoice, TakesTheFirstRowThatFits) {
    EXPECT_EQ(chosen(FormatId::q4_k, StoredForm::rows4, 1, Isa::avx512), "avx512_direct");
    EXPECT_EQ(chosen(FormatId::q4_k, StoredForm::rows4, 64, Isa::avx512), "avx512_tiles");
    EXPECT_EQ(chosen(FormatId::q4_k, StoredForm::rows4, 64, Isa::amx), "avx512_tiles")
        << "amx_tiles is not measured yet";
    EXPECT_EQ(chosen(FormatId::q4_k, StoredForm::rows4, 64, Isa::amx, "amx_tiles"), "amx_tiles");
    EXPECT_EQ(chosen(FormatId::nvfp4, StoredForm::rows4, 1, Isa::avx2), "avx2_direct");
    EXPECT_EQ(chosen(FormatId::nvfp4, StoredForm::rows4, 512, Isa::avx2), "avx2_tiles");
    EXPECT_EQ(chosen(FormatId::q8_0, StoredForm::rows4, 1, Isa::avx_vnni), "avx_vnni_direct");
    EXPECT_EQ(chosen(FormatId::q8_0, StoredForm::rows4, 512, Isa::avx_vnni), "avx_vnni_tiles");
    EXPECT_EQ(chosen(FormatId::bf16, StoredForm::rows4, 1, Isa::avx_vnni), "float_avx2");
    EXPECT_EQ(chosen(FormatId::q8_0, StoredForm::rows4, 1, Isa::scalar), "scalar");
    EXPECT_EQ(chosen(FormatId::q8_0, StoredForm::as_stored, 1, Isa::avx512), "scalar");
    EXPECT_EQ(chosen(FormatId::bf16, StoredForm::as_stored, 1, Isa::scalar), "float_scalar");
}

TEST(LinearChoice, ForcedRowIsTakenWhereItFits) {
    EXPECT_EQ(chosen(FormatId::q4_k, StoredForm::rows4, 1, Isa::avx512, "avx512_tiles"), "avx512_tiles");
    EXPECT_EQ(chosen(FormatId::q4_k, StoredForm::rows4, 1, Isa::avx512, "scalar"), "scalar");
    EXPECT_EQ(chosen(FormatId::q4_k, StoredForm::rows4, 1, Isa::avx2, "avx512_tiles"), "avx2_direct");
    EXPECT_EQ(chosen(FormatId::f16, StoredForm::as_stored, 1, Isa::avx512, "scalar"), "float_scalar");
    EXPECT_EQ(find_linear_kernel("avx2_direct")->isa, Isa::avx2);
    EXPECT_EQ(find_linear_kernel("no_such_row"), nullptr);
}

// A CPU may have AVX-512 VNNI without AVX-VNNI, so `avx512` must never lead to a row of the tier below it.
TEST(LinearChoice, Avx512NeverTakesARowOfAvxVnni) {
    int taken_by_avx512 = 0;
    for (const Format* format : formats()) {
        for (StoredForm form : {StoredForm::as_stored, StoredForm::rows4}) {
            for (int64_t tokens = 1; tokens <= 64; ++tokens) {
                const LinearProblem problem{format->id, form, 7, 256, tokens};
                const Isa isa = choose_linear_kernel(problem, Isa::avx512, "").isa;
                EXPECT_NE(isa, Isa::avx_vnni) << format->name << " " << tokens;
                taken_by_avx512 += isa == Isa::avx512;
            }
        }
    }
    EXPECT_EQ(taken_by_avx512, kFormatCount * 64);
}

TEST(LinearChoice, EveryProblemHasAScalarRow) {
    for (const Format* format : formats()) {
        for (StoredForm form : {StoredForm::as_stored, StoredForm::rows4}) {
            for (int64_t tokens : {1, 512}) {
                const LinearProblem problem{format->id, form, 7, 256, tokens};
                EXPECT_EQ(choose_linear_kernel(problem, Isa::scalar, "").isa, Isa::scalar) << format->name;
            }
        }
    }
}

TEST(Activations, LanesHoldTheBlocksOfTheDefinition) {
    const IsaSupport support = detect_isa();
    int64_t bytes = 0;
    for (int64_t columns : {32, 64, 224, 256, 288, 1024, 2560}) {
        std::vector<float> x = random_activations(12, columns, static_cast<uint64_t>(columns));
        x[5] = std::numeric_limits<float>::infinity();
        x[static_cast<size_t>(columns) * 7 + 31] = -std::numeric_limits<float>::quiet_NaN();
        const int64_t size = activation_bytes(ActivationForm::lanes, columns);
        for (int64_t t = 0; t < 12; ++t) {
            const float* row = x.data() + t * columns;
            const AlignedBytes plain = aligned_bytes(size);
            prepare_activations(ActivationForm::lanes, Isa::scalar, row, columns, plain.get());
            std::vector<QuantizedBlock> blocks(static_cast<size_t>(columns / 32));
            quantize_row(row, columns, blocks.data());
            for (int64_t block = 0; block < columns / 32; ++block) {
                const LaneRecord& record = reinterpret_cast<const LaneRecord*>(plain.get())[block / 8];
                const QuantizedBlock& expected = blocks[static_cast<size_t>(block)];
                for (int64_t k = 0; k < 32; ++k) {
                    ASSERT_EQ(record.q[32 * (k / 4) + 4 * (block % 8) + k % 4], expected.q[k]);
                }
                EXPECT_EQ(record.half_sum[0][block % 8] + record.half_sum[1][block % 8], expected.sum);
                EXPECT_EQ(std::memcmp(&record.d[block % 8], &expected.d, 4), 0);
                EXPECT_EQ(std::memcmp(&record.sx[block % 8], &expected.sx, 4), 0);
            }
            for (int64_t block = columns / 32; block % 8 != 0; ++block) {
                const LaneRecord& record = reinterpret_cast<const LaneRecord*>(plain.get())[block / 8];
                EXPECT_TRUE(record.d[block % 8] == 0 && std::signbit(record.d[block % 8])) << "past the end: -0";
                EXPECT_TRUE(record.sx[block % 8] == 0 && std::signbit(record.sx[block % 8]));
            }
            for (Isa isa : support.all_supported()) {
                const AlignedBytes fast = aligned_bytes(size);
                prepare_activations(ActivationForm::lanes, isa, row, columns, fast.get());
                EXPECT_EQ(std::memcmp(fast.get(), plain.get(), static_cast<size_t>(size)), 0)
                    << isa_name(isa) << " columns " << columns << " token " << t;
                bytes += size;
            }
        }
    }
    std::printf("[equality] prepared activations: %lld bytes compared, 0 differ\n", static_cast<long long>(bytes));
}

TEST(Activations, BlocksAtTheZeroThresholdAgree) {
    for (Isa isa : detect_isa().all_supported()) {
        for (float amax :
             {std::nextafterf(kZeroBlockBelow, 0.0f), kZeroBlockBelow, std::nextafterf(kZeroBlockBelow, 1.0f)}) {
            alignas(64) float x[256] = {};
            x[17] = -amax;
            LaneRecord record;
            prepare_activations(ActivationForm::lanes, isa, x, 256, reinterpret_cast<std::byte*>(&record));
            EXPECT_EQ(record.q[32 * 4 + 1], amax < kZeroBlockBelow ? 0 : -127) << isa_name(isa) << " " << amax;
            EXPECT_EQ(record.d[0] > 0, amax >= kZeroBlockBelow);
        }
    }
}

TEST(Activations, FloatLanesAreTransposedAndPaddedWithMinusZero) {
    const std::vector<float> x = random_activations(1, 300, 8);
    ASSERT_EQ(activation_bytes(ActivationForm::float_lanes, 300), 512 * 4);
    const AlignedBytes out = aligned_bytes(512 * 4);
    prepare_activations(ActivationForm::float_lanes, Isa::scalar, x.data(), 300, out.get());
    const auto* lanes = reinterpret_cast<const float*>(out.get());
    for (int k = 0; k < 512; ++k) {
        const float value = lanes[k / 256 * 256 + 8 * (k % 32) + k % 256 / 32];
        if (k < 300) {
            EXPECT_EQ(value, x[static_cast<size_t>(k)]);
        } else {
            EXPECT_TRUE(value == 0 && std::signbit(value));
        }
    }
}

TEST(IsaSupport, ScalarAlwaysRunsAndNamesComeBack) {
    const IsaSupport support = detect_isa();
    EXPECT_TRUE(support.has(Isa::scalar));
    EXPECT_TRUE(support.has(support.highest()));
    EXPECT_TRUE(!support.has(Isa::avx512) || support.has(Isa::avx2));
    EXPECT_TRUE(!support.has(Isa::amx) || support.has(Isa::avx512));
    EXPECT_TRUE(!support.has(Isa::avx_vnni) || support.has(Isa::avx2));
    for (Isa isa : kAllIsas) {
        EXPECT_EQ(find_isa_by_name(isa_name(isa)), isa);
        std::printf("[isa] %s: %s\n", std::string(isa_name(isa)).c_str(),
                    support.has(isa) ? "runs here" : support.missing[static_cast<size_t>(isa)].c_str());
    }
    EXPECT_EQ(find_isa_by_name("neon"), std::nullopt);
}

}  // namespace
}  // namespace invar
