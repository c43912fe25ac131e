// The check of the trial "verb" (verb.py), built in its copy alone: softplus_multiply on every instruction set and on
// the emulated device equals its law bit for bit, float64 agrees with it to a rounding, and a device that lacks it is
// told at planning time.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>

#include "arithmetic/elementary.h"
#include "cpu/cpu_ops.h"
#include "cuda/cuda_ops.h"
#include "proof/reference64/float64_rows.h"

namespace invar {
namespace {

constexpr int64_t kRows = 5, kWidth = 1030;

struct Case {
    std::vector<float> gate, up, expected;
};

Case make_case() {
    Case made;
    std::mt19937 random(7);
    std::normal_distribution<float> normal(0.0f, 4.0f);
    for (int64_t i = 0; i < kRows * kWidth; ++i) {
        made.gate.push_back(normal(random));
        made.up.push_back(normal(random));
        made.expected.push_back(law::softplus(made.gate.back()) * made.up.back());
    }
    return made;
}

int64_t differing(const std::vector<float>& expected, const float* got) {
    int64_t count = 0;
    for (size_t i = 0; i < expected.size(); ++i) count += std::memcmp(&expected[i], got + i, 4) != 0 ? 1 : 0;
    return count;
}

int64_t differing_on_cpu(const Case& given, Isa isa) {
    auto pool = ThreadPool::create({.threads = 2});
    auto ops = CpuOps::create({.pool = **pool, .highest = isa, .scratch_bytes = int64_t{1} << 22});
    const Tensor gate = (*ops)->scratch(kRows, kWidth), up = (*ops)->scratch(kRows, kWidth);
    std::copy(given.gate.begin(), given.gate.end(), gate.host());
    std::copy(given.up.begin(), given.up.end(), up.host());
    (*ops)->softplus_multiply({0, "activation"}, gate, up, gate);
    return differing(given.expected, gate.host());
}

int64_t differing_on_device(const Case& given) {
    auto device = Device::open(0);
    auto ops = CudaOps::create({.device = **device, .scratch_bytes = int64_t{1} << 22});
    const auto tensor = [&](const std::vector<float>& values) {
        const Tensor made = (*ops)->scratch(kRows, kWidth);
        const auto sent =
            (*device)->upload(reinterpret_cast<std::byte*>(made.device()), values.data(), kRows * kWidth * 4);
        CHECK(sent.has_value(), "the emulated device takes copies");
        return made;
    };
    const Tensor gate = tensor(given.gate), up = tensor(given.up);
    (*ops)->softplus_multiply({0, "activation"}, gate, up, gate);
    const auto read = (*ops)->read(gate);
    return read ? differing(given.expected, read->data()) : kRows * kWidth;
}

// The largest distance from float64, in units in the last place of the larger factor's product.
double worst_of_float64(const Case& given) {
    const float64::RowBody body = float64::row_body(Verb::softplus_multiply);
    float64::RowDecoder decoder;
    std::vector<double> gate(given.gate.begin(), given.gate.end()), up(given.up.begin(), given.up.end()), out(kWidth);
    const Tensor shape(nullptr, Place::host, kRows, kWidth, kWidth);
    const VerbCall call{.verb = Verb::softplus_multiply, .x = shape, .x2 = shape, .out = shape};
    double worst = 0;
    for (int64_t row = 0; row < kRows; ++row) {
        const auto x = [&](int64_t at) -> const double* { return gate.data() + at * kWidth; };
        const auto x2 = [&](int64_t at) -> const double* { return up.data() + at * kWidth; };
        const auto no_weight = [](int64_t) { return 0.0; };
        body({.call = call, .row = row, .x = x, .x2 = x2, .slot_weight = no_weight, .decoder = decoder}, out.data());
        for (int64_t i = 0; i < kWidth; ++i) {
            const float expected = given.expected[static_cast<size_t>(row * kWidth + i)];
            if (std::abs(out[static_cast<size_t>(i)]) < 1e-30) continue;
            const double ulp = std::ldexp(1.0, std::ilogb(out[static_cast<size_t>(i)]) - 23);
            worst = std::max(worst, std::abs(expected - out[static_cast<size_t>(i)]) / ulp);
        }
    }
    return worst;
}

int works() {
    const Case given = make_case();
    int64_t differ = 0, sets = 0;
    for (const Isa isa : detect_isa().all_supported()) {
        differ += differing_on_cpu(given, isa);
        ++sets;
    }
    differ += differing_on_device(given);
    const double worst = worst_of_float64(given);
    std::printf(
        "[equality] softplus_multiply on %lld instruction sets and the emulated device: %lld outputs compared, %lld "
        "differ\n",
        static_cast<long long>(sets), static_cast<long long>((sets + 1) * kRows * kWidth),
        static_cast<long long>(differ));
    std::printf("[equality] softplus_multiply in float64: %lld outputs compared, %.2f ulp at most apart (limit 4)\n",
                static_cast<long long>(kRows * kWidth), worst);
    return differ == 0 && worst > 0 && worst < 4 ? 0 : 1;
}

int lacks() {
    auto device = Device::open(0);
    auto ops = CudaOps::create({.device = **device, .measuring = true});
    const Tensor x = (*ops)->scratch(kRows, kWidth);
    (*ops)->softplus_multiply({0, "activation"}, x, x, x);
    const Result<void> planned = (*ops)->finish();
    const std::string expected =
        "the CUDA device has no kernel for softplus_multiply of layer 0 activation, width 1030, for 5 rows; use "
        "--device "
        "cpu";
    const std::string got = planned ? "no error" : planned.error().message;
    std::printf("[equality] plan without a body: 1 sentence compared: %s\n", got.c_str());
    return got == expected ? 0 : 1;
}

}  // namespace
}  // namespace invar

int main(int count, char** arguments) {
    return count > 1 && std::string(arguments[1]) == "lacks" ? invar::lacks() : invar::works();
}
