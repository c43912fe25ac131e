// What the verbs of hybrid layers cost on this machine, at the layer shapes of real models: printed, never asserted.
// One token is compared with the bytes that it must read and write, and with plain reads of as many; a prompt with the
// products of its own layer at Q4_K. docs/performance.md has the results.
#include <gtest/gtest.h>

#include <time.h>

#include <algorithm>

#include "cpu/verb_case.h"

namespace invar {
namespace {

// Seconds of the calling thread on a CPU: what a loaded machine takes away does not count.
double thread_seconds() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

template <class Work>
double seconds_of(const Work& work) {
    const double start = thread_seconds();
    work();
    return thread_seconds() - start;
}

// Seconds that the loop of the read probe (machine/read_probe.cpp) takes over `memory`.
double read_seconds(const std::vector<float>& memory) {
    return seconds_of([&] {
        uint64_t sums[8] = {};
        for (size_t i = 0; i + 16 <= memory.size(); i += 16) {
            uint64_t words[8];
            __builtin_prefetch(memory.data() + i + 768);
            std::memcpy(words, memory.data() + i, 64);
            for (int k = 0; k < 8; ++k) sums[k] += words[k];
        }
        volatile uint64_t kept = sums[0] + sums[1] + sums[2] + sums[3] + sums[4] + sums[5] + sums[6] + sums[7];
        static_cast<void>(kept);
    });
}

struct HybridLayer {
    const char* name;
    bool delta;
    RecurrenceHeads heads;
    int64_t model_width;
    int64_t projected;  // rows of all projections into the layer
    int64_t values() const { return int64_t{heads.value_heads} * heads.value_width; }
    int64_t channels() const { return 2 * int64_t{heads.key_heads} * heads.key_width + values(); }
};

const HybridLayer kLayers[] = {
    {"Qwen3.5-35B-A3B gated delta", true, {16, 32, 128, 128, true}, 2048, 8192 + 4096 + 64},
    {"Nemotron-3-Nano Mamba 2", false, {8, 64, 128, 64}, 2688, 4096 + 6144 + 64},
};

// Several layers, so that no cache keeps the states from one call to the next.
class HybridCase {
  public:
    HybridCase(const HybridLayer& layer, int layers, int64_t rows) : layer_(layer), rows_(rows) {
        std::mt19937 random(75);
        const int64_t columns = 3 * layer.channels();
        auto state = SequenceState::create(
            {.geometry = {.layers = std::vector<KvGeometry>(static_cast<size_t>(layers)),
                          .recurrences = std::vector<RecurrenceGeometry>(
                              static_cast<size_t>(layers),
                              {.state_elements = layer.heads.state_elements(), .column_elements = columns}),
                          .type = CacheType::f16,
                          .places = {}},
             .units = {1},
             .sequences = 1,
             .digest = {}});
        CHECK(state.has_value(), "the states fit in memory");
        state_ = std::move(*state);
        sequence_ = state_->add_sequence();
        CHECK(state_->reserve(sequence_, rows).has_value(), "a sequence has its slot");
        batch_ = rows_of(sequence_, 0, rows);
        x_ = make_inputs(random, rows * layer.channels());
        for (float& value : x_) value *= 0.08f;
        gates_ = make_inputs(random, rows * layer.heads.value_heads * 2);
        taps_ = make_inputs(random, layer.channels() * 4);
        numbers_ = std::vector<float>(static_cast<size_t>(layer.heads.value_heads), -0.2f);
    }
    void prepare(Ops& ops) {
        ops.begin_pass();
        in_ = make_tensor(ops, rows_, layer_.channels(), x_);
        mixed_ = make_tensor(ops, rows_, layer_.channels(), x_);
        steps_ = make_tensor(ops, rows_, layer_.heads.value_heads * (layer_.delta ? 2 : 1), gates_);
        out_ = ops.scratch(rows_, layer_.values());
    }
    void convolve(Ops& ops, int layer) {
        const WeightVector taps = vector(taps_);
        ops.causal_convolution({layer, "convolution"}, call(layer), batch_, in_, taps, nullptr, *state_, mixed_);
    }
    void recur(Ops& ops, int layer) {
        if (layer_.delta) {
            ops.delta_rule({layer, "delta"}, call(layer), batch_, in_, steps_, vector(numbers_), vector(numbers_),
                           *state_, out_);
        } else {
            ops.state_space({layer, "scan"}, call(layer), batch_, in_, steps_, vector(numbers_), vector(numbers_),
                            vector(numbers_), *state_, out_);
        }
    }
    int64_t bytes() const {
        return 2 * layer_.heads.state_elements() * 4 + rows_ * (layer_.channels() + layer_.values()) * 4;
    }
    int64_t convolution_bytes() const { return layer_.channels() * 4 * (4 + 6 + 2 * rows_); }

  private:
    static WeightVector vector(const std::vector<float>& values) {
        return {.id = {}, .data = values.data(), .size = std::ssize(values)};
    }
    RecurrenceCall call(int layer) const { return {.layer = layer, .taps = 4, .heads = layer_.heads}; }

    HybridLayer layer_;
    int64_t rows_;
    std::unique_ptr<SequenceState> state_;
    int32_t sequence_ = 0;
    Batch batch_;
    std::vector<float> x_, gates_, taps_, numbers_;
    Tensor in_, mixed_, steps_, out_;
};

bool one_thread_in_lanes(const Backend& backend) { return backend.isa != Isa::scalar && backend.pool->threads() == 1; }

TEST(VerbSpeed, RecurrencesOfOneTokenAgainstTheBytesTheyMove) {
    const int layers = 48;
    const std::vector<float> memory(size_t{32} << 20, 1.0f);
    for (const HybridLayer& layer : kLayers) {
        HybridCase one(layer, layers, 1);
        for (Backend& backend : all_backends()) {
            if (!one_thread_in_lanes(backend)) continue;
            one.prepare(*backend.ops);
            std::vector<double> read, recur, convolve;
            for (int round = 0; round < 9; ++round) {
                read.push_back(4.0 * static_cast<double>(memory.size()) / read_seconds(memory));
                recur.push_back(seconds_of([&] {
                    for (int i = 0; i < layers; ++i) one.recur(*backend.ops, i);
                }));
                convolve.push_back(seconds_of([&] {
                    for (int i = 0; i < layers; ++i) one.convolve(*backend.ops, i);
                }));
            }
            const double rate = static_cast<double>(one.bytes()) * layers / median(recur);
            const double convolved = static_cast<double>(one.convolution_bytes()) * layers / median(convolve);
            printf(
                "[speed] %s: %s, one token: recurrence %.1f us, %.1f GB/s (%.0f %% of plain reads, %.1f GB/s); "
                "convolution %.1f us, %.1f GB/s\n",
                backend.name().c_str(), layer.name, median(recur) / layers * 1e6, rate / 1e9, 100 * rate / median(read),
                median(read) / 1e9, median(convolve) / layers * 1e6, convolved / 1e9);
        }
    }
}

TEST(VerbSpeed, HybridLayersOfAPromptAgainstTheirProducts) {
    std::mt19937 random(76);
    const int64_t rows = 512;
    for (const HybridLayer& layer : kLayers) {
        HybridCase prompt(layer, 1, rows);
        const int64_t width = layer.model_width, values = layer.values();
        const OwnedMatrix into =
            make_matrix(random, FormatId::q4_k, StoredForm::rows4, layer.projected / 4 / 4 * 4, width / 256 * 256);
        for (Backend& backend : all_backends()) {
            if (!one_thread_in_lanes(backend)) continue;
            Ops& ops = *backend.ops;
            prompt.prepare(ops);
            const int64_t columns = into.view.columns;
            const Tensor x = make_tensor(ops, rows, columns, make_inputs(random, rows * columns));
            const Tensor y = ops.scratch(rows, into.view.rows), z = ops.scratch(rows, values);
            std::fill_n(z.host(), rows * values, 0.5f);
            std::vector<double> product, recur, convolve, norm;
            for (int round = 0; round < 5; ++round) {
                product.push_back(seconds_of([&] { ops.linear({0, "in"}, into.view, x, y); }));
                convolve.push_back(seconds_of([&] { prompt.convolve(ops, 0); }));
                recur.push_back(seconds_of([&] { prompt.recur(ops, 0); }));
                norm.push_back(seconds_of([&] {
                    if (layer.delta) ops.l2_norm({0, "norm"}, z.packed(values), 128, 1e-6f, z);
                    ops.rms_norm_groups({0, "norm"}, z, nullptr, layer.heads.value_width, 1e-6f, z);
                    ops.activate({0, "gate"}, {}, z, z, z);
                }));
            }
            // The products of the whole layer, at the rate of those that ran.
            const double rate = static_cast<double>(rows * into.view.rows * columns) / median(product);
            const double products = static_cast<double>(rows * width * (layer.projected + values)) / rate;
            const double state = median(recur), rest = median(convolve) + median(norm);
            printf(
                "[speed] %s: %s, a prompt of 512: products %.1f ms (%.0f GMAC/s); recurrence %.1f ms (%.0f %%), "
                "convolution %.1f ms, norms and gate %.1f ms; all %.0f %% of the products\n",
                backend.name().c_str(), layer.name, products * 1e3, rate / 1e9, state * 1e3, 100 * state / products,
                median(convolve) * 1e3, median(norm) * 1e3, 100 * (state + rest) / products);
        }
    }
}

// Elementwise verbs over operands that no cache holds, against the read probe, and over operands in the first cache,
// which shows how fast their arithmetic is.
class ElementwiseCase {
  public:
    ElementwiseCase(Ops& ops, const std::vector<float>& weight) : ops_(ops), weight_(weight) {
        ops.begin_pass();
        large_ = tensors(4096, kWidth);  // 64 MiB each
        small_ = tensors(1, 2048);
    }
    struct Operands {
        Tensor a, b, out;
        WeightVector vector;
    };
    // Billions of elements a second, of the large operands and of the small.
    std::pair<double, double> rates(const std::function<void(const Operands&)>& work) const {
        std::vector<double> large, small;
        const int repeats = 400;
        for (int round = 0; round < 5; ++round) {
            // Results of verbs in place would become subnormal, which is slow and no case of a model.
            fill(large_);
            fill(small_);
            large.push_back(seconds_of([&] { work(large_); }));
            small.push_back(seconds_of([&] {
                for (int i = 0; i < repeats; ++i) work(small_);
            }));
        }
        const auto elements = [](const Operands& of) { return static_cast<double>(of.out.rows() * of.out.width()); };
        return {elements(large_) / median(large) / 1e9, repeats * elements(small_) / median(small) / 1e9};
    }

  private:
    static constexpr int64_t kWidth = 4096;
    Operands tensors(int64_t rows, int64_t width) const {
        return {.a = ops_.scratch(rows, width),
                .b = ops_.scratch(rows, width),
                .out = ops_.scratch(rows, width),
                .vector = {.id = {}, .data = weight_.data(), .size = width}};
    }
    void fill(const Operands& operands) const {
        for (int64_t i = 0; i < operands.a.rows(); ++i)
            for (const Tensor& tensor : {operands.a, operands.b, operands.out})
                std::copy_n(weight_.data(), tensor.width(), tensor.host_row(i));
    }
    Ops& ops_;
    const std::vector<float>& weight_;
    Operands large_, small_;
};

TEST(VerbSpeed, ElementwiseVerbsOfGatedLayers) {
    std::mt19937 random(77);
    auto weight = make_inputs(random, 4096);
    for (float& value : weight) value = 0.25f + std::abs(value);
    using Operands = ElementwiseCase::Operands;
    for (Backend& backend : all_backends()) {
        if (!one_thread_in_lanes(backend)) continue;
        Ops& ops = *backend.ops;
        const ElementwiseCase elements(ops, weight);
        const std::vector<float> memory(size_t{32} << 20, 1.0f);
        std::vector<double> reads;
        for (int round = 0; round < 5; ++round)
            reads.push_back(4e-9 * static_cast<double>(memory.size()) / read_seconds(memory));
        const double read = median(reads);
        printf("[speed] %s: the read probe %.1f GB/s\n", backend.name().c_str(), read);
        const auto print = [&](const char* name, int operands, const std::function<void(const Operands&)>& work) {
            const auto [rate, cached] = elements.rates(work);
            printf(
                "[speed] %s: %-16s %.2f billion elements a second, %.0f %% of the read probe; in cache %.2f (%.0f "
                "%%)\n",
                backend.name().c_str(), name, rate, 100 * rate * operands * 4 / read, cached,
                100 * cached * operands * 4 / read);
        };
        for (const Activation kind : {Activation::silu, Activation::gelu_tanh, Activation::gelu,
                                      Activation::relu_squared, Activation::sigmoid, Activation::clamped_swiglu}) {
            const ActivationSpec spec{.kind = kind, .alpha = 1.702f, .limit = 7.0f};
            print(activation_name(kind).data(), 3, [&](const Operands& x) {
                ops.activate({0, "a"}, spec, x.a, x.b, x.a.rows() > 1 ? x.b : x.out);  // in place, as models do
            });
        }
        print("scale", 2, [&](const Operands& x) { ops.scale({0, "a"}, x.a, 1.0f); });
        print("multiply", 2, [&](const Operands& x) { ops.multiply({0, "a"}, x.a, x.vector); });
        print("add", 3, [&](const Operands& x) { ops.add({0, "a"}, x.out, x.a); });
        print("softcap", 2, [&](const Operands& x) { ops.softcap({0, "a"}, x.a, 30.0f); });
        print("l2_norm of 128", 2, [&](const Operands& x) { ops.l2_norm({0, "a"}, x.a, 128, 1e-6f, x.out); });
        print("rms_norm of 128", 2, [&](const Operands& x) {
            ops.rms_norm_groups({0, "a"}, x.a, nullptr, 128, 1e-6f, x.out);
        });
        print("rms_norm", 2, [&](const Operands& x) { ops.rms_norm({0, "a"}, x.a, x.vector, 1e-6f, x.out); });
        print("layer_norm", 2, [&](const Operands& x) {
            ops.layer_norm({0, "a"}, x.a, x.vector, &x.vector, 1e-6f, x.out);
        });
        print("copy", 2, [&](const Operands& x) { ops.copy({0, "a"}, x.a, x.out); });
    }
}

}  // namespace
}  // namespace invar
