// The first tokens of a row found by the device, against the sampler that sees the whole row: the same token, the same
// probability, the same error, with ties, infinities, NaN, bans, biases and penalties.
#include <gtest/gtest.h>

#include <limits>

#include "device_ops.h"
#include "generate/sampler.h"

namespace invar {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

enum class Logits : int { ordinary, many_ties, two_values, mostly_banned, huge, with_nan, with_infinity };

std::vector<float> make_logits(std::mt19937& random, int64_t vocabulary, Logits kind) {
    std::vector<float> logits = make_inputs(random, vocabulary);
    for (float& logit : logits) {
        if (kind == Logits::many_ties) logit = std::round(logit);
        if (kind == Logits::two_values) logit = random() % 2 == 0 ? 0.0f : -0.0f;
        if (kind == Logits::mostly_banned && random() % 50 != 0) logit = -kInfinity;
        if (kind == Logits::huge) logit *= 3e37f;
    }
    const size_t place = random() % logits.size();
    if (kind == Logits::with_nan) logits[place] = logits[logits.size() - 1] = std::nanf("");
    if (kind == Logits::with_infinity) logits[place] = kInfinity;
    return logits;
}

SamplerSettings make_settings(std::mt19937& random, int64_t vocabulary) {
    const auto token = [&] { return static_cast<int32_t>(random() % static_cast<uint64_t>(vocabulary)); };
    SamplerSettings settings;
    settings.temperature = std::array{0.0f, 0.001f, 0.7f, 1.0f, 3.0f}[random() % 5];
    settings.top_k = std::array{1, 3, 40, 256}[random() % 4];
    settings.top_p = random() % 2 == 0 ? 1.0f : 0.9f;
    settings.min_p = random() % 3 == 0 ? 0.05f : 0.0f;
    settings.seed = random();
    if (random() % 2 == 0) {
        settings.repetition_penalty = 1.3f;
        settings.frequency_penalty = 0.25f;
        settings.presence_penalty = -0.5f;
        settings.penalty_window = -1;
    }
    for (int i = 0; i < 3; ++i) settings.banned.ids.push_back(token());
    for (const int32_t biased : {token(), token()}) {
        if (!settings.bias.empty() && settings.bias[0].token == biased) continue;
        settings.bias.push_back({biased, random() % 2 == 0 ? 4.0f : 1e6f});
    }
    return settings;
}

TEST(CudaPreselection, GivesTheChoiceOfTheWholeRow) {
    std::mt19937 random(17);
    int64_t choices = 0, errors = 0, differ = 0;
    for (const int64_t vocabulary : {1, 50, 1024, 1025, 5000}) {
        for (int kind = 0; kind < 7; ++kind) {
            const DeviceBackend backend = DeviceBackend::make(0);
            constexpr int kRows = 6;
            std::vector<float> logits;
            std::vector<Sampler> samplers;
            std::vector<Preselection> requests;
            std::vector<std::vector<int32_t>> histories;
            for (int row = 0; row < kRows; ++row) {
                const std::vector<float> of_row = make_logits(random, vocabulary, static_cast<Logits>(kind));
                logits.insert(logits.end(), of_row.begin(), of_row.end());
                samplers.emplace_back(make_settings(random, vocabulary));
                histories.emplace_back();
                for (int i = 0; i < 30; ++i)
                    histories.back().push_back(static_cast<int32_t>(random() % static_cast<uint64_t>(vocabulary)));
                const auto request = samplers.back().preselection(histories.back(), vocabulary);
                ASSERT_TRUE(request.has_value() && request->has_value());
                requests.push_back(**request);
            }
            backend.cuda->begin_pass();
            ASSERT_TRUE(backend.cuda->ask(requests));
            const auto answers = backend.cuda->preselect(backend.tensor(kRows, vocabulary, logits));
            ASSERT_TRUE(answers.has_value()) << answers.error().message;
            for (size_t row = 0; row < kRows; ++row) {
                const std::span<const float> whole(logits.data() + static_cast<int64_t>(row) * vocabulary,
                                                   static_cast<size_t>(vocabulary));
                const auto position = static_cast<int64_t>(random() % 1000);
                const auto expected = samplers[row].sample(whole, histories[row], position);
                const auto actual = samplers[row].sample((*answers)[row], vocabulary, position);
                ++choices;
                errors += expected ? 0 : 1;
                const bool same = expected && actual
                                      ? expected->token == actual->token &&
                                            expected->candidates == actual->candidates &&
                                            expected->probability == actual->probability
                                      : !expected && !actual && expected.error().message == actual.error().message;
                differ += same ? 0 : 1;
                EXPECT_TRUE(same) << "vocabulary " << vocabulary << ", kind " << kind << ", row " << row;
            }
        }
    }
    std::printf("[equality] CUDA preselection: %lld choices compared, %lld of them errors, %lld differ\n",
                static_cast<long long>(choices), static_cast<long long>(errors), static_cast<long long>(differ));
    EXPECT_EQ(choices, 210);
    EXPECT_GT(errors, 60);
    EXPECT_GT(choices - errors, 100);
}

// The first tokens themselves, against a plain sort.
TEST(CudaPreselection, RanksLikeASort) {
    std::mt19937 random(18);
    Comparison comparison;
    for (const int64_t vocabulary : {40, 3000}) {
        const DeviceBackend backend = DeviceBackend::make(0);
        const std::vector<float> logits = make_logits(random, vocabulary, Logits::many_ties);
        std::vector<int32_t> order(static_cast<size_t>(vocabulary));
        for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
        std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
            return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
        });
        backend.cuda->begin_pass();
        const std::vector<Preselection> requests(1, Preselection{.edits = {}, .count = 200});
        ASSERT_TRUE(backend.cuda->ask(requests));
        const auto answers = backend.cuda->preselect(backend.tensor(1, vocabulary, logits));
        ASSERT_TRUE(answers.has_value()) << answers.error().message;
        const std::vector<RankedLogit>& first = answers->front().first;
        ASSERT_EQ(first.size(), static_cast<size_t>(std::min<int64_t>(vocabulary, 200)));
        for (size_t i = 0; i < first.size(); ++i) {
            comparison.add_exact(&order[i], &first[i].token, 1);
            comparison.add(logits[static_cast<size_t>(order[i])] + 0.0f, first[i].logit);
        }
    }
    comparison.print("CUDA ranks");
    EXPECT_EQ(comparison.differ(), 0);
    EXPECT_EQ(comparison.compared(), 480);
}

}  // namespace
}  // namespace invar
