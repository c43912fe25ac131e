// The law against an independent evaluation: tools/fixtures/arithmetic.py writes docs/arithmetic.md once more in numpy,
// with its own exactly rounded fma, and tests/data/arithmetic/law.txt holds its results. Every bit must agree.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "arithmetic/activation.h"
#include "arithmetic/attention.h"
#include "arithmetic/elementary.h"
#include "arithmetic/norm.h"
#include "arithmetic/pooling.h"
#include "arithmetic/recurrence.h"
#include "arithmetic/reduce.h"
#include "arithmetic/rope.h"
#include "arithmetic/routing.h"
#include "arithmetic/softmax.h"

namespace invar {
namespace {

using Floats = std::vector<float>;

struct Row {
    std::string name;
    Floats arguments;
    Floats results;
};

std::vector<Row> read_rows() {
    std::ifstream file(INVAR_TEST_DATA "/arithmetic/law.txt");
    std::vector<Row> rows;
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        Row row;
        words >> row.name;
        Floats* target = &row.arguments;
        for (std::string word; words >> word;) {
            if (word == "=")
                target = &row.results;
            else
                target->push_back(std::bit_cast<float>(static_cast<uint32_t>(std::stoul(word, nullptr, 16))));
        }
        rows.push_back(std::move(row));
    }
    return rows;
}

Floats slice(const Floats& all, size_t first, size_t count) {
    return Floats(all.begin() + static_cast<int64_t>(first), all.begin() + static_cast<int64_t>(first + count));
}

Floats each(const Floats& x, float (*function)(float)) {
    Floats y;
    for (const float value : x) y.push_back(function(value));
    return y;
}

Floats rope_row(const Row& row, RopePairing pairing) {
    Floats head = slice(row.arguments, 0, 20);
    const Floats cosines = slice(row.arguments, 20, 8), sines = slice(row.arguments, 28, 8);
    RopeSpec spec;
    spec.pairing = pairing;
    spec.rotary_width = 16;
    spec.head_width = 20;
    law::rope(spec, cosines.data(), sines.data(), head.data());
    return head;
}

Floats attention_row(const Row& row, const Floats& keys, const Floats& values) {
    AttentionSpec spec{
        .head_width = 8, .value_width = 5, .scale = 0.35355338f, .softcap = row.arguments[2], .sink = {}};
    if (row.arguments[3] != 0) spec.sink = row.arguments[3];
    const VisiblePositions visible{static_cast<int64_t>(row.arguments[0]), static_cast<int64_t>(row.arguments[1])};
    Floats out(5);
    law::attention_head(
        spec, row.arguments.data() + 4, visible, [&](int64_t t) { return keys.data() + t * 8; },
        [&](int64_t t) { return values.data() + t * 5; }, out.data());
    return out;
}

Floats joined(std::initializer_list<Floats> parts) {
    Floats all;
    for (const Floats& part : parts) all.insert(all.end(), part.begin(), part.end());
    return all;
}

Floats route_row(const Row& row) {
    const Floats& x = row.arguments;
    RouteSpec spec;
    spec.scoring = static_cast<RouteSpec::Scoring>(x[0]);
    spec.experts_per_row = static_cast<int>(x[1]);
    spec.renormalise = x[2] != 0;
    spec.groups = static_cast<int>(x[3]);
    spec.groups_used = static_cast<int>(x[4]);
    spec.group_score = static_cast<RouteSpec::GroupScore>(x[5]);
    spec.sum_floor = x[6];
    spec.factor = x[7];
    const bool extra = x[8] != 0;
    const float* logits = x.data() + 9;
    Floats scores(24), experts, weights;
    const Routing routing =
        law::route(spec, logits, extra ? logits + 24 : nullptr, extra ? logits + 48 : nullptr, 24, scores.data());
    for (const RoutedExpert& chosen : routing.experts) {
        experts.push_back(static_cast<float>(chosen.expert));
        weights.push_back(chosen.weight);
    }
    return joined({experts, weights, {routing.margin}});
}

Floats convolution_row(const Row& row) {
    const Floats& x = row.arguments;
    const auto taps = static_cast<size_t>(x[0]);
    Floats y;
    for (size_t channel = 0; channel < 9; ++channel) {
        Floats window;
        for (size_t k = 0; k < taps; ++k) window.push_back(x[1 + 9 * taps + k * 9 + channel]);
        y.push_back(law::silu(law::causal_convolution(x.data() + 1 + channel * taps, window.data(),
                                                      static_cast<int>(taps), x[1 + 18 * taps + channel])));
    }
    return y;
}

// The states of a delta rule and of Mamba 2 between the rows of the file.
struct States {
    int key_width = 0, value_width = 0;
    Floats delta, scan;

    void begin(const Row& row) {
        key_width = static_cast<int>(row.arguments[0]);
        value_width = static_cast<int>(row.arguments[1]);
        const auto size = static_cast<size_t>(key_width * value_width);
        delta = slice(row.arguments, 2, size);
        scan = slice(row.arguments, 2 + size, size);
    }
    Floats step(const Row& row) {
        const float *query = row.arguments.data(), *key = query + key_width, *value = key + key_width;
        const float* numbers = value + value_width;
        Floats out(static_cast<size_t>(value_width));
        if (row.name == "delta_step") {
            law::delta_step(query, key, value, numbers[0], numbers[1], key_width, value_width, delta.data(),
                            out.data());
            return joined({delta, out});
        }
        law::state_space_step(query, key, value, numbers[0], numbers[1], numbers[2], key_width, value_width,
                              scan.data(), out.data());
        return joined({scan, out});
    }
};

// Those of layers that are gated, scaled or routed; nothing for another row.
Floats evaluate_layer_row(const Row& row) {
    const Floats& x = row.arguments;
    const auto n = static_cast<int64_t>(x.size());
    Floats y;
    if (row.name == "route") return route_row(row);
    if (row.name == "convolution") return convolution_row(row);
    if (row.name == "relu_squared")
        for (const float one : x) y.push_back(law::activate({.kind = Activation::relu_squared}, one));
    if (row.name == "softcap")
        for (const float one : x) y.push_back(law::softcap(one, 30.0f));
    if (row.name == "clamped_swiglu")
        for (int64_t i = 0; i < n / 2; ++i)
            y.push_back(law::activate({Activation::clamped_swiglu, 1.702f, 7.0f}, x[static_cast<size_t>(i)],
                                      x[static_cast<size_t>(i + n / 2)]));
    if (row.name == "decay")
        for (int64_t i = 2; i < n; ++i) y.push_back(law::decay(x[0], x[static_cast<size_t>(i)], x[1]));
    if (row.name == "position_scale")
        for (int64_t i = 2; i < n; ++i)
            y.push_back(
                law::position_scale(x[0], static_cast<int64_t>(x[1]), static_cast<int64_t>(x[static_cast<size_t>(i)])));
    if (row.name == "pool") {  // the mode, then rows of nine elements
        const auto mode = static_cast<Pooling>(x[0]);
        y.resize(9);
        for (int64_t t = 0; t < n / 9; ++t) law::pool_row(mode, t, x.data() + 1 + 9 * t, 9, y.data());
        law::pool_end(mode, n / 9, 9, y.data());
    }
    if (row.name == "unit_length") y.resize(x.size()), law::unit_length(x.data(), n, y.data());
    if (row.name == "l2_norm") y.resize(x.size()), law::l2_norm(x.data(), n, 1e-6f, y.data());
    if (row.name == "layer_norm") {
        y.resize(static_cast<size_t>(n / 3));
        law::layer_norm(x.data(), x.data() + n / 3, x.data() + 2 * n / 3, n / 3, 1e-5f, y.data());
    }
    if (row.name == "layer_norm_plain") {
        y.resize(static_cast<size_t>(n / 2));
        law::layer_norm(x.data(), x.data() + n / 2, nullptr, n / 2, 1e-5f, y.data());
    }
    return y;
}

// The law's results for a row; keys and values are those of the file.
Floats evaluate(const Row& row, const Floats& keys, const Floats& values) {
    const std::map<std::string, float (*)(float)> elementary = {
        {"exp", law::exp},          {"tanh", law::tanh},           {"sigmoid", law::sigmoid},
        {"silu", law::silu},        {"gelu_tanh", law::gelu_tanh}, {"gelu", law::gelu},
        {"softplus", law::softplus}};
    const Floats& x = row.arguments;
    const auto n = static_cast<int64_t>(x.size());
    if (Floats made = evaluate_layer_row(row); !made.empty()) return made;
    Floats y(x.size());
    if (elementary.contains(row.name)) return each(x, elementary.at(row.name));
    if (row.name == "sum") return {law::sum(x.data(), n)};
    if (row.name == "sum_of_squares") return {law::sum_of_squares(x.data(), n)};
    if (row.name == "rope_adjacent") return rope_row(row, RopePairing::adjacent);
    if (row.name == "rope_halves") return rope_row(row, RopePairing::halves);
    if (row.name == "attention") return attention_row(row, keys, values);
    if (row.name == "softmax") law::softmax(x.data(), n, y.data());
    if (row.name == "rms_norm_plain") law::rms_norm(x.data(), nullptr, n, 1e-6f, y.data());
    if (row.name == "rms_norm") {
        y.resize(n / 2);
        law::rms_norm(x.data(), x.data() + n / 2, n / 2, 1e-6f, y.data());
    }
    return y;
}

TEST(Law, EqualsAnIndependentEvaluationBitForBit) {
    std::map<std::string, int64_t> compared;
    int64_t different = 0;
    Floats keys, values;
    States states;
    for (const Row& row : read_rows()) {
        if (row.name == "states") states.begin(row);
        if (row.name == "keys") keys = row.arguments;
        if (row.name == "values") values = row.arguments;
        if (row.results.empty()) continue;
        const Floats results = row.name.ends_with("_step") ? states.step(row) : evaluate(row, keys, values);
        ASSERT_EQ(results.size(), row.results.size()) << row.name;
        for (size_t i = 0; i < results.size(); ++i) {
            ++compared[row.name];
            if (std::bit_cast<uint32_t>(results[i]) == std::bit_cast<uint32_t>(row.results[i])) continue;
            if (++different < 10)
                ADD_FAILURE() << row.name << " result " << i << " is " << results[i] << ", the fixture says "
                              << row.results[i];
        }
    }
    int64_t total = 0;
    for (const auto& [name, count] : compared) total += count;
    std::printf("[equality] %lld results of %zu functions compared, %lld differ\n", static_cast<long long>(total),
                compared.size(), static_cast<long long>(different));
    EXPECT_EQ(different, 0);
    EXPECT_EQ(compared.size(), 29u);
    EXPECT_GT(total, 4000);
}

}  // namespace
}  // namespace invar
