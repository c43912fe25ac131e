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

#include "arithmetic/attention.h"
#include "arithmetic/elementary.h"
#include "arithmetic/norm.h"
#include "arithmetic/reduce.h"
#include "arithmetic/rope.h"
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

// The law's results for a row; keys and values are those of the file.
Floats evaluate(const Row& row, const Floats& keys, const Floats& values) {
    const std::map<std::string, float (*)(float)> elementary = {
        {"exp", law::exp},   {"tanh", law::tanh},           {"sigmoid", law::sigmoid},
        {"silu", law::silu}, {"gelu_tanh", law::gelu_tanh}, {"softplus", law::softplus}};
    const Floats& x = row.arguments;
    const auto n = static_cast<int64_t>(x.size());
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
    for (const Row& row : read_rows()) {
        if (row.name == "keys") keys = row.arguments;
        if (row.name == "values") values = row.arguments;
        if (row.results.empty()) continue;
        const Floats results = evaluate(row, keys, values);
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
    EXPECT_EQ(compared.size(), 14u);
    EXPECT_GT(total, 4000);
}

}  // namespace
}  // namespace invar
