// Every row kernel of every instruction set against the law it cites, bit for bit.
#include "cpu/row_kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "arithmetic/elementary.h"
#include "arithmetic/float_types.h"
#include "arithmetic/norm.h"
#include "arithmetic/recurrence.h"
#include "arithmetic/rope.h"
#include "arithmetic/softmax.h"
#include "comparison.h"

namespace invar {
namespace {

std::vector<const RowKernels*> kernels_here() {
    std::vector<const RowKernels*> here;
    for (const RowKernels* kernels : row_kernels()) {
        if (detect_isa().has(kernels->isa)) here.push_back(kernels);
    }
    return here;
}

const std::vector<int64_t> kLengths = {1,   2,   3,   7,   8,   9,   15,  16,  17,  31,   33,   64,   80,   96,  127,
                                       128, 200, 255, 256, 257, 300, 511, 513, 768, 1000, 1024, 1300, 2560, 4103};

// Every kind; a limit that some of the usual numbers pass.
const ActivationSpec kActivations[] = {{.kind = Activation::silu},    {.kind = Activation::gelu_tanh},
                                       {.kind = Activation::gelu},    {.kind = Activation::relu_squared},
                                       {.kind = Activation::sigmoid}, {Activation::clamped_swiglu, 1.702f, 1.25f},
                                       {.kind = Activation::identity}};

TEST(RowKernels, TheTableHasARowForEachTierAndEndsInScalar) {
    ASSERT_EQ(row_kernels().size(), 3u);
    EXPECT_EQ(row_kernels().back()->isa, Isa::scalar);
    EXPECT_EQ(choose_row_kernels(Isa::scalar).name, "scalar");
    EXPECT_EQ(choose_row_kernels(Isa::avx2).name, "avx2");
    EXPECT_EQ(choose_row_kernels(Isa::avx_vnni).name, "avx2");
    EXPECT_EQ(choose_row_kernels(Isa::avx512).name, "avx512");
}

TEST(RowKernels, ElementwiseKernelsEqualTheLaw) {
    for (const RowKernels* kernels : kernels_here()) {
        std::mt19937 random(1);
        Comparison sums, products, fused, activations;
        for (const int64_t n : kLengths) {
            for (const Inputs kind : {Inputs::usual, Inputs::hard, Inputs::extreme}) {
                const auto x = make_inputs(random, n, kind), y = make_inputs(random, n, kind);
                const float factor = make_inputs(random, 1, kind)[0];
                std::vector<float> expected(x.size()), actual = x;
                kernels->add(actual.data(), y.data(), n);
                for (size_t i = 0; i < x.size(); ++i) sums.add(x[i] + y[i], actual[i]);
                actual = x;
                kernels->scale(actual.data(), factor, n);
                for (size_t i = 0; i < x.size(); ++i) products.add(x[i] * factor, actual[i]);
                actual = y;
                kernels->add_scaled(actual.data(), factor, x.data(), n);
                for (size_t i = 0; i < x.size(); ++i) fused.add(std::fma(factor, x[i], y[i]), actual[i]);
                actual = x;
                kernels->multiply(actual.data(), y.data(), n);
                for (size_t i = 0; i < x.size(); ++i) products.add(x[i] * y[i], actual[i]);
                actual = x;
                kernels->softcap(actual.data(), 30.0f, n);
                for (size_t i = 0; i < x.size(); ++i) products.add(law::softcap(x[i], 30.0f), actual[i]);
                for (const ActivationSpec& spec : kActivations) {
                    kernels->activate(spec, x.data(), y.data(), n, actual.data());
                    for (size_t i = 0; i < x.size(); ++i) activations.add(law::activate(spec, x[i], y[i]), actual[i]);
                    actual = x;
                    kernels->activate(spec, actual.data(), y.data(), n, actual.data());  // in place
                    for (size_t i = 0; i < x.size(); ++i) activations.add(law::activate(spec, x[i], y[i]), actual[i]);
                    if (spec.kind == Activation::clamped_swiglu) continue;
                    kernels->activate(spec, x.data(), nullptr, n, actual.data());
                    for (size_t i = 0; i < x.size(); ++i) activations.add(law::activate(spec, x[i]), actual[i]);
                }
            }
        }
        for (const Comparison* comparison : {&sums, &products, &fused, &activations})
            EXPECT_EQ(comparison->differ(), 0);
        activations.print(std::string(kernels->name) + " activations");
    }
}

// Arguments spread over all exponents, and every special value.
TEST(RowKernels, ActivationsAndExpAgreeOverTheWholeRangeOfArguments) {
    std::vector<float> arguments = {0.0f,
                                    -0.0f,
                                    INFINITY,
                                    -INFINITY,
                                    NAN,
                                    std::numeric_limits<float>::max(),
                                    std::numeric_limits<float>::lowest(),
                                    std::numeric_limits<float>::denorm_min()};
    for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 4099)
        arguments.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits)));
    for (float x = -115.0f; x < 95.0f; x += 0.00071f) arguments.push_back(x);
    const auto n = static_cast<int64_t>(arguments.size());
    const std::vector<float> ones(arguments.size(), 1.0f);
    for (const RowKernels* kernels : kernels_here()) {
        std::vector<float> actual(arguments.size());
        Comparison comparison;
        for (const ActivationSpec& spec : kActivations) {
            kernels->activate(spec, arguments.data(), ones.data(), n, actual.data());
            for (size_t i = 0; i < arguments.size(); ++i)
                comparison.add(law::activate(spec, arguments[i], 1.0f), actual[i]);
        }
        for (const float cap : {1.0f, 30.0f}) {  // tanh of the arguments themselves, and of less
            actual = arguments;
            kernels->softcap(actual.data(), cap, n);
            for (size_t i = 0; i < arguments.size(); ++i) comparison.add(law::softcap(arguments[i], cap), actual[i]);
        }
        std::vector<float> steps(arguments.size());
        kernels->decays(-0.7f, 0.25f, arguments.data(), n, actual.data(), steps.data());
        for (size_t i = 0; i < arguments.size(); ++i) {
            comparison.add(law::softplus(arguments[i] + 0.25f), steps[i]);
            comparison.add(law::decay(-0.7f, arguments[i], 0.25f), actual[i]);
        }
        // exp is tested through softmax of two logits: a logit that is less than the largest by d gets the probability
        // exp(-d) / (1 + exp(-d)).
        for (float d = 0; d < 110; d += 0.0113f) {
            const float logits[2] = {-d, 0.0f};
            float expected[2], probabilities[2];
            law::softmax(logits, 2, expected);
            kernels->softmax(logits, 2, probabilities);
            comparison.add(expected, probabilities, 2);
        }
        EXPECT_EQ(comparison.differ(), 0) << kernels->name;
        comparison.print(std::string(kernels->name) + " activations, decays and exp over the whole range");
    }
}

TEST(RowKernels, RmsNormEqualsTheLaw) {
    for (const RowKernels* kernels : kernels_here()) {
        std::mt19937 random(2);
        Comparison comparison;
        for (const int64_t n : kLengths) {
            for (const Inputs kind : {Inputs::usual, Inputs::hard, Inputs::extreme}) {
                const auto x = make_inputs(random, n, kind), weight = make_inputs(random, n);
                std::vector<float> expected(x.size()), actual(x.size());
                law::rms_norm(x.data(), weight.data(), n, 1e-6f, expected.data());
                kernels->rms_norm(x.data(), weight.data(), n, 1e-6f, actual.data());
                comparison.add(expected.data(), actual.data(), n);
                actual = x;
                kernels->rms_norm(actual.data(), weight.data(), n, 1e-6f, actual.data());
                comparison.add(expected.data(), actual.data(), n);
                law::rms_norm(x.data(), nullptr, n, 1e-5f, expected.data());
                kernels->rms_norm(x.data(), nullptr, n, 1e-5f, actual.data());
                comparison.add(expected.data(), actual.data(), n);
            }
        }
        EXPECT_EQ(comparison.differ(), 0) << kernels->name;
        comparison.print(std::string(kernels->name) + " rms_norm");
    }
}

TEST(RowKernels, TheOtherNormsEqualTheLaw) {
    for (const RowKernels* kernels : kernels_here()) {
        std::mt19937 random(8);
        Comparison comparison;
        for (const int64_t n : kLengths) {
            for (const Inputs kind : {Inputs::usual, Inputs::hard, Inputs::extreme}) {
                const auto x = make_inputs(random, n, kind), weight = make_inputs(random, n),
                           bias = make_inputs(random, n);
                std::vector<float> expected(x.size()), actual(x.size());
                law::l2_norm(x.data(), n, 1e-6f, expected.data());
                kernels->l2_norm(x.data(), n, 1e-6f, actual.data());
                comparison.add(expected.data(), actual.data(), n);
                for (const float* added : {bias.data(), static_cast<const float*>(nullptr)}) {
                    law::layer_norm(x.data(), weight.data(), added, n, 1e-5f, expected.data());
                    actual = x;
                    kernels->layer_norm(actual.data(), weight.data(), added, n, 1e-5f, actual.data());  // in place
                    comparison.add(expected.data(), actual.data(), n);
                    std::fill(actual.begin(), actual.end(), -7.0f);
                    kernels->layer_norm(x.data(), weight.data(), added, n, 1e-5f, actual.data());
                    comparison.add(expected.data(), actual.data(), n);
                }
            }
        }
        EXPECT_EQ(comparison.differ(), 0) << kernels->name;
        comparison.print(std::string(kernels->name) + " l2_norm and layer_norm");
    }
}

TEST(RowKernels, RopeEqualsTheLawInBothPairingsAndLeavesTheRestAlone) {
    for (const RowKernels* kernels : kernels_here()) {
        std::mt19937 random(3);
        Comparison comparison;
        for (const int head_width : {2, 6, 16, 20, 64, 80, 96, 128, 256}) {
            for (const int rotary_width : {head_width, std::max(2, head_width / 4 * 2)}) {
                for (const RopePairing pairing : {RopePairing::halves, RopePairing::adjacent}) {
                    const RopeSpec spec{.pairing = pairing,
                                        .rotary_width = rotary_width,
                                        .head_width = head_width,
                                        .base = 1e4,
                                        .frequency_factors = {}};
                    const RopeTable table(spec);
                    std::vector<float> cosines(static_cast<size_t>(spec.pairs())), sines(cosines.size());
                    for (const int64_t position : {0, 1, 63, 1000, 123456}) {
                        table.angles(position, cosines.data(), sines.data());
                        std::vector<float> expected = make_inputs(random, head_width, Inputs::hard), actual = expected;
                        law::rope(spec, cosines.data(), sines.data(), expected.data());
                        const auto turn =
                            pairing == RopePairing::halves ? kernels->rope_halves : kernels->rope_adjacent;
                        turn(actual.data(), spec.pairs(), cosines.data(), sines.data());
                        comparison.add(expected.data(), actual.data(), head_width);
                    }
                }
            }
        }
        EXPECT_EQ(comparison.differ(), 0) << kernels->name;
        comparison.print(std::string(kernels->name) + " rope");
    }
}

TEST(RowKernels, SoftmaxEqualsTheLaw) {
    for (const RowKernels* kernels : kernels_here()) {
        std::mt19937 random(4);
        Comparison comparison;
        for (const int64_t n : kLengths) {
            for (int round = 0; round < 4; ++round) {
                auto logits = make_inputs(random, n, round == 0 ? Inputs::usual : Inputs::hard);
                if (round == 2) logits[static_cast<size_t>(n / 2)] = -INFINITY;
                if (round == 2 && n == 1) continue;  // a row of -inf is no distribution
                if (round == 3) {
                    for (float& logit : logits) logit = -std::fabs(logit);  // the largest may be a zero of either sign
                }
                std::vector<float> expected(logits.size()), actual(logits.size());
                law::softmax(logits.data(), n, expected.data());
                kernels->softmax(logits.data(), n, actual.data());
                comparison.add(expected.data(), actual.data(), n);
                actual = logits;
                kernels->softmax(actual.data(), n, actual.data());
                comparison.add(expected.data(), actual.data(), n);
            }
        }
        EXPECT_EQ(comparison.differ(), 0) << kernels->name;
        comparison.print(std::string(kernels->name) + " softmax");
    }
}

TEST(RowKernels, NarrowingEqualsTheScalarRoundingAtEveryBoundary) {
    // Every f16 and bf16 value, its neighbours, and the ties between values, are among these.
    std::vector<float> values;
    for (uint32_t half = 0; half < 0x10000; ++half) {
        const uint32_t wide = std::bit_cast<uint32_t>(f16_to_f32(static_cast<uint16_t>(half)));
        for (const uint32_t bits : {wide, wide + 1, wide - 1, wide + 0x1000, wide + 0x1001, wide + 0xFFF}) {
            values.push_back(std::bit_cast<float>(bits));
        }
        for (const uint32_t bits : {half << 16, half << 16 | 0x7FFF, half << 16 | 0x8000, half << 16 | 0x8001}) {
            values.push_back(std::bit_cast<float>(bits));
        }
    }
    for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 8209)
        values.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits)));
    const auto n = static_cast<int64_t>(values.size());
    for (const RowKernels* kernels : kernels_here()) {
        Comparison comparison;
        for (const CachedFloat type : {CachedFloat::f16, CachedFloat::bf16}) {
            std::vector<uint16_t> expected, actual(values.size());
            for (const float value : values)
                expected.push_back(type == CachedFloat::f16 ? f32_to_f16(value) : f32_to_bf16(value));
            kernels->narrow(type, values.data(), n, actual.data());
            comparison.add_exact(expected.data(), actual.data(), n);
            for (int64_t length = 1; length < 40; ++length) {
                std::vector<uint16_t> part(41, 0xABCD);
                kernels->narrow(type, values.data() + 1000, length, part.data());
                comparison.add_exact(expected.data() + 1000, part.data(), length);
                EXPECT_EQ(part[static_cast<size_t>(length)], 0xABCD) << "wrote past the end";
            }
        }
        EXPECT_EQ(comparison.differ(), 0) << kernels->name;
        comparison.print(std::string(kernels->name) + " narrow");
    }
}

TEST(RowKernels, FirstNonFiniteFindsThePlaceOfTheFirst) {
    int64_t searches = 0;
    for (const RowKernels* kernels : kernels_here()) {
        std::mt19937 random(5);
        for (const int64_t n : kLengths) {
            auto values = make_inputs(random, n, Inputs::extreme);
            values[0] = std::numeric_limits<float>::max();
            EXPECT_EQ(kernels->first_non_finite(values.data(), n), -1);
            for (int64_t place = n - 1; place >= 0; --place, ++searches) {
                const float bad[4] = {NAN, INFINITY, -INFINITY, -NAN};
                values[static_cast<size_t>(place)] = bad[place % 4];
                ASSERT_EQ(kernels->first_non_finite(values.data(), n), place) << kernels->name << " of " << n;
            }
        }
    }
    printf("[rows] %lld non-finite numbers found where they are\n", static_cast<long long>(searches));
}

// Kernels write nothing outside [0, n).
TEST(RowKernels, NeighboursOfARowStayUntouched) {
    for (const RowKernels* kernels : kernels_here()) {
        std::mt19937 random(6);
        for (int64_t n = 1; n < 70; ++n) {
            const auto x = make_inputs(random, n), y = make_inputs(random, n);
            std::vector<float> out(static_cast<size_t>(n) + 32, 7.25f);
            float* row = out.data() + 16;
            const auto clean = [&] {
                for (size_t i = 0; i < 16; ++i) {
                    if (out[i] != 7.25f || out[static_cast<size_t>(n) + 16 + i] != 7.25f) return false;
                }
                return true;
            };
            kernels->add(row, x.data(), n);
            kernels->scale(row, 0.5f, n);
            kernels->add_scaled(row, 2.0f, x.data(), n);
            for (const ActivationSpec& spec : kActivations) kernels->activate(spec, x.data(), y.data(), n, row);
            kernels->multiply(row, x.data(), n);
            kernels->softcap(row, 5.0f, n);
            kernels->l2_norm(x.data(), n, 1e-6f, row);
            kernels->layer_norm(x.data(), y.data(), nullptr, n, 1e-6f, row);
            kernels->rms_norm(x.data(), y.data(), n, 1e-6f, row);
            kernels->softmax(x.data(), n, row);
            if (n % 2 == 0) {
                kernels->rope_halves(row, n / 2, x.data(), y.data());
                kernels->rope_adjacent(row, n / 2, x.data(), y.data());
            }
            EXPECT_TRUE(clean()) << kernels->name << " " << n;
        }
    }
}

// rms_norm with its sum in a wrong order is compared over many rows, because one wrong bit of the sum often rounds
// away.
float wrong_squares(int how, const std::vector<float>& x) {
    const int64_t n = static_cast<int64_t>(x.size());
    const int64_t width = how == 0 ? 1 : how == 1 ? 8 : 256;  // 0: in order, 1: 8 lanes, 2: no fma, 3: last skipped
    std::vector<float> lanes(static_cast<size_t>(width), 0.0f);
    for (int64_t i = 0; i < n - (how == 3 ? 1 : 0); ++i) {
        float& lane = lanes[static_cast<size_t>(i % width)];
        const float t = x[static_cast<size_t>(i)];
        lane = how == 2 ? lane + t * t : std::fma(t, t, lane);
    }
    for (size_t half = lanes.size() / 2; half > 0; half /= 2) {
        for (size_t j = 0; j < half; ++j) lanes[j] = lanes[j] + lanes[j + half];
    }
    return lanes[0];
}

// Wrong copies of the reductions and turns must be noticed by the comparison the tests above use.
TEST(RowKernels, WrongOrdersAndSignsAreCaught) {
    std::mt19937 random(7);
    Mutations mutations;
    const char* const names[5] = {"squares summed in order", "8 lanes in place of 256",
                                  "product and sum rounded separately", "last element skipped", "x * (r * w)"};
    std::vector<float> x;
    for (int how = 0; how < 5; ++how) {
        Comparison comparison;
        for (int row = 0; row < 50; ++row) {
            x = make_inputs(random, 1000);
            const auto weight = make_inputs(random, 1000);
            std::vector<float> expected(x.size());
            law::rms_norm(x.data(), weight.data(), 1000, 1e-6f, expected.data());
            const float r = how == 4 ? law::rms_norm_factor(x.data(), 1000, 1e-6f)
                                     : 1.0f / std::sqrt(wrong_squares(how, x) / 1000.0f + 1e-6f);
            for (size_t i = 0; i < x.size(); ++i) {
                comparison.add(expected[i], how == 4 ? x[i] * (r * weight[i]) : (x[i] * r) * weight[i]);
            }
        }
        mutations.add(names[how], comparison);
    }

    const RopeSpec spec{
        .pairing = RopePairing::halves, .rotary_width = 64, .head_width = 64, .base = 1e4, .frequency_factors = {}};
    std::vector<float> cosines(32), sines(32), head(x.begin(), x.begin() + 64);
    RopeTable(spec).angles(77, cosines.data(), sines.data());
    std::vector<float> turned = head;
    law::rope(spec, cosines.data(), sines.data(), turned.data());
    const auto turn = [&](int how) {
        Comparison comparison;
        for (size_t i = 0; i < 32; ++i) {
            const float x0 = head[i], x1 = head[i + 32];
            float y0 = std::fma(-x1, sines[i], x0 * cosines[i]), y1 = std::fma(x0, sines[i], x1 * cosines[i]);
            if (how == 0) y0 = std::fma(x1, sines[i], x0 * cosines[i]);
            if (how == 1) y0 = std::fma(x0, cosines[i], -x1 * sines[i]);
            if (how == 2) y1 = x0 * sines[i] + x1 * cosines[i];
            if (how == 3) std::swap(y0, y1);
            comparison.add(turned[i], y0);
            comparison.add(turned[i + 32], y1);
        }
        return comparison;
    };
    mutations.add("rope: wrong sign", turn(0));
    mutations.add("rope: the other product rounded", turn(1));
    mutations.add("rope: no fma", turn(2));
    mutations.add("rope: halves swapped", turn(3));
    mutations.print("row kernels");
    EXPECT_EQ(mutations.caught(), mutations.total());
}

}  // namespace
}  // namespace invar
