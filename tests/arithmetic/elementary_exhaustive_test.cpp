// Every elementary function on every one of the 2^32 binary32 arguments, against binary64 libm; prints the largest
// error in ulp and where it is. Builds with sanitizers, and machines without AVX2, look at every 251st argument.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <thread>
#include <vector>

#include "arithmetic/elementary.h"
#include "arithmetic/elementary_sweep.h"

namespace invar {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
constexpr bool kSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool kSanitized = false;
#endif

// Below 2^-13 the series to x^4 has an error under 2^-70; it spares nine tenths of the calls of libm.
double exp_reference(double x) {
    if (std::fabs(x) < 0x1p-13) return 1.0 + x * (1.0 + x * (0.5 + x * (1.0 / 6 + x * (1.0 / 24))));
    return x < -800 ? 0.0 : x > 800 ? INFINITY : std::exp(x);
}

double tanh_reference(double x) {
    if (std::fabs(x) < 0x1p-13) return x - x * x * x / 3;
    return std::fabs(x) > 20 ? std::copysign(1.0, x) : std::tanh(x);
}

double sigmoid_reference(double x) { return 1.0 / (1.0 + exp_reference(-x)); }
double silu_reference(double x) { return x < -800 ? -0.0 : x / (1.0 + exp_reference(-x)); }

double gelu_tanh_reference(double x) {
    if (x < -800) return -0.0;
    constexpr double kRootTwoOverPi = 0.79788456080286535588;
    return x / (1.0 + exp_reference(-2.0 * kRootTwoOverPi * (x + 0.044715 * x * x * x)));
}

double gelu_reference(double x) {
    constexpr double kRootOfHalf = 0.70710678118654752440;
    if (std::fabs(x) < 0x1p-13) return x / 2 * (1 + x * 0.79788456080286535588);  // the next term is below 2^-41
    return x < -20 ? -0.0 : x > 10 ? x : x / 2 * std::erfc(-x * kRootOfHalf);
}

double softplus_reference(double x) {
    const double e = exp_reference(-std::fabs(x));
    return std::fmax(x, 0.0) + (e < 1e-17 ? e : std::log1p(e));
}

// The distance of two neighbouring binary32 numbers at |value|.
double ulp_at(double value) {
    const int exponent = std::max(static_cast<int>(std::bit_cast<uint64_t>(value) >> 52 & 0x7ff) - 1023, -126);
    return std::bit_cast<double>(static_cast<uint64_t>(exponent - 23 + 1023) << 52);
}

struct Function {
    Elementary id;
    const char* name;
    float (*law)(float);
    double (*reference)(double);
};

struct Findings {
    double largest_ulp = 0;
    float argument = 0;
    int64_t compared = 0;
    int64_t nans = 0;
    int64_t wrong = 0;  // a NaN for a number, a number for a NaN, or not infinite where the truth rounds to infinity

    void join(const Findings& other) {
        if (other.largest_ulp > largest_ulp) largest_ulp = other.largest_ulp, argument = other.argument;
        compared += other.compared, nans += other.nans, wrong += other.wrong;
    }
};

void compare(const Function& function, uint32_t bits, float result, Findings& findings) {
    const float x = std::bit_cast<float>(bits);
    ++findings.compared;
    if (std::isnan(x)) {
        ++findings.nans;
        findings.wrong += !std::isnan(result);
        return;
    }
    const double truth = function.reference(x);
    constexpr double kRoundsToInfinity = 0x1.ffffffp+127;
    if (std::fabs(truth) >= kRoundsToInfinity || std::isinf(result)) {
        findings.wrong += !(std::isinf(result) && std::fabs(truth) >= kRoundsToInfinity * (1 - 0x1p-23));
        return;
    }
    const double error = std::fabs(static_cast<double>(result) - truth) / ulp_at(truth);
    if (!(error <= findings.largest_ulp)) {
        findings.largest_ulp = error;
        findings.argument = x;
        findings.wrong += std::isnan(error);
    }
}

void sweep_everything(const Function& function, uint64_t first, uint64_t last, Findings& findings) {
    std::vector<float> results(kSweepBatch);
    for (uint64_t bits = first; bits < last; bits += kSweepBatch) {
        evaluate_avx2(function.id, static_cast<uint32_t>(bits), results.data());
        for (int i = 0; i < kSweepBatch; ++i) compare(function, static_cast<uint32_t>(bits + i), results[i], findings);
    }
}

Findings sweep(const Function& function) {
    Findings total;
    if (kSanitized || !__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
        for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 251) {
            const uint32_t word = static_cast<uint32_t>(bits);
            compare(function, word, function.law(std::bit_cast<float>(word)), total);
        }
        return total;
    }
    constexpr uint64_t kBatches = (uint64_t{1} << 32) / kSweepBatch;
    const unsigned threads = std::clamp(std::thread::hardware_concurrency(), 1u, 8u);
    std::vector<Findings> parts(threads);
    std::vector<std::thread> workers;
    for (unsigned i = 0; i < threads; ++i) {
        workers.emplace_back([&, i] {
            sweep_everything(function, kBatches * i / threads * kSweepBatch, kBatches * (i + 1) / threads * kSweepBatch,
                             parts[i]);
        });
    }
    for (std::thread& worker : workers) worker.join();
    for (const Findings& part : parts) total.join(part);
    return total;
}

class ElementaryExhaustive : public testing::TestWithParam<Function> {};

TEST_P(ElementaryExhaustive, StaysWithinTwoUlpOfBinary64) {
    const Function& function = GetParam();
    const Findings findings = sweep(function);
    std::printf("[accuracy] %s: %lld arguments, largest error %.4f ulp at %.9g (%a); %lld NaN, %lld wrong\n",
                function.name, static_cast<long long>(findings.compared), findings.largest_ulp,
                double(findings.argument), double(findings.argument), static_cast<long long>(findings.nans),
                static_cast<long long>(findings.wrong));
    EXPECT_LE(findings.largest_ulp, 2.0);
    EXPECT_EQ(findings.wrong, 0);
    if (!kSanitized) {
        EXPECT_GT(findings.nans, 0);
    }
}

// The library's functions, compiled without FMA instructions, are the functions that the sweep saw.
TEST_P(ElementaryExhaustive, AgreesBetweenInstructionSets) {
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) GTEST_SKIP() << "this machine has no AVX2";
    const Function& function = GetParam();
    int64_t compared = 0, different = 0;
    std::vector<float> results(kSweepBatch);
    for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += kSweepBatch * (kSanitized ? 9973 : 997)) {
        evaluate_avx2(function.id, static_cast<uint32_t>(bits), results.data());
        for (int i = 0; i < kSweepBatch; ++i, ++compared) {
            const float expected = function.law(std::bit_cast<float>(static_cast<uint32_t>(bits + i)));
            different += std::isnan(expected)
                             ? !std::isnan(results[i])
                             : std::bit_cast<uint32_t>(expected) != std::bit_cast<uint32_t>(results[i]);
        }
    }
    std::printf("[equality] %s: %lld outputs compared, %lld differ\n", function.name, static_cast<long long>(compared),
                static_cast<long long>(different));
    EXPECT_EQ(different, 0);
}

INSTANTIATE_TEST_SUITE_P(All, ElementaryExhaustive,
                         testing::Values(Function{Elementary::exp, "exp", law::exp, exp_reference},
                                         Function{Elementary::tanh, "tanh", law::tanh, tanh_reference},
                                         Function{Elementary::sigmoid, "sigmoid", law::sigmoid, sigmoid_reference},
                                         Function{Elementary::silu, "silu", law::silu, silu_reference},
                                         Function{Elementary::gelu_tanh, "gelu_tanh", law::gelu_tanh,
                                                  gelu_tanh_reference},
                                         Function{Elementary::gelu, "gelu", law::gelu, gelu_reference},
                                         Function{Elementary::softplus, "softplus", law::softplus, softplus_reference}),
                         [](const auto& function) { return function.param.name; });

}  // namespace
}  // namespace invar
