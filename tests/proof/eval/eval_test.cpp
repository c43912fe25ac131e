// Windows that score every token once, the mathematics of a row of logits against closed forms, intervals against the
// theory of independent draws, and a run that is stopped and resumed against one that is not.
#include "proof/eval/eval_run.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <numeric>
#include <random>

#include "engine/engine_settings.h"
#include "models/tiny_model.h"
#include "proof/eval/next_token.h"

namespace invar {
namespace {

EvalText text_of(int64_t tokens, std::optional<int32_t> bos) {
    EvalText text{.tokens = {}, .bos = bos};
    for (int64_t i = 0; i < tokens; ++i) text.tokens.push_back(static_cast<int32_t>(i * 37 % 251));
    return text;
}

TEST(Eval, WindowsScoreEveryTokenOnceWithEnoughBeforeIt) {
    int windows_seen = 0;
    for (const std::optional<int32_t> bos : {std::optional<int32_t>(), std::optional<int32_t>(258)}) {
        for (const int64_t tokens : {2, 3, 10, 64, 65, 100, 333}) {
            for (const auto& [context, stride] :
                 {std::pair<int64_t, int64_t>{64, 32}, {64, 62}, {64, 1}, {4, 2}, {512, 256}}) {
                const auto windows = cut_windows(text_of(tokens, bos), {.context = context, .stride = stride});
                ASSERT_TRUE(windows) << windows.error().message;
                int64_t next = bos ? 0 : 1;
                for (const EvalWindow& window : *windows) {
                    EXPECT_EQ(window.scored, next);
                    EXPECT_LE(window.end - window.first + (bos ? 1 : 0), context);
                    if (window.first > 0) {
                        EXPECT_GE(window.scored - window.first, context - (bos ? 1 : 0) - stride);
                    }
                    next = window.end;
                    ++windows_seen;
                }
                EXPECT_EQ(next, tokens) << context << " " << stride;
            }
        }
    }
    EXPECT_GT(windows_seen, 1000);
}

TEST(Eval, RefusesWindowsThatScoreNothing) {
    const EvalText text = text_of(100, std::nullopt);
    for (const auto& [context, stride] : {std::pair<int64_t, int64_t>{1, 1}, {64, 64}, {64, 0}, {64, -5}}) {
        const auto windows = cut_windows(text, {.context = context, .stride = stride});
        EXPECT_FALSE(windows) << context << " " << stride;
    }
    EXPECT_FALSE(cut_windows(text_of(1, std::nullopt), {}));
    EXPECT_FALSE(cut_windows(text_of(0, 258), {}));
    EXPECT_TRUE(cut_windows(text_of(1, 258), {}));
}

TEST(NextToken, EqualsClosedForms) {
    const std::vector<float> equal(1000, 800.0f);  // exp(800) is no binary64
    EXPECT_NEAR(next_token(equal).log_sum, 800 + std::log(1000.0), 1e-12);
    EXPECT_EQ(next_token(equal).best, 0);
    // Two tokens: p = 1 / (1 + e^-x).
    for (const float x : {0.5f, 3.0f, -7.0f, 60.0f}) {
        const std::vector<float> p = {x, 0}, q = {0, 0};
        const double share = 1 / (1 + std::exp(-double{x}));
        double expected = share * std::log(2 * share);
        if (share < 1) expected += (1 - share) * (std::log1p(-share) + std::log(2.0));
        EXPECT_NEAR(kl_divergence({p, next_token(p)}, {q, next_token(q)}), expected, 1e-14) << x;
        EXPECT_EQ(next_token(p).best, x > 0 ? 0 : 1);
    }
    const std::vector<float> row = {1, 5, -3, 5};
    EXPECT_EQ(next_token(row).best, 1);
    EXPECT_EQ(kl_divergence({row, next_token(row)}, {row, next_token(row)}), 0);
    // Adding a constant to a row changes no distribution.
    const std::vector<float> moved = {101, 105, 97, 105};
    EXPECT_NEAR(kl_divergence({row, next_token(row)}, {moved, next_token(moved)}), 0, 1e-14);
}

EvalScores scores_of(const std::vector<double>& log_p) {
    EvalScores scores{.first = 1, .windows = 1, .log_p = log_p};
    scores.is_best.assign(log_p.size(), 1);
    return scores;
}

TEST(EvalStatistics, IntervalsCoverTheMeanOfIndependentDrawsAsOftenAsTheySay) {
    std::mt19937 random(7);
    std::exponential_distribution<double> draw(1.0);
    int covered = 0;
    double width = 0;
    constexpr int kSets = 100, kCount = 3200;
    for (int set = 0; set < kSets; ++set) {
        std::vector<double> log_p;
        for (int i = 0; i < kCount; ++i) log_p.push_back(-draw(random));
        const EvalSummary summary = summarise(scores_of(log_p));
        ASSERT_TRUE(summary.perplexity.interval);
        const auto [low, high] = *summary.perplexity.interval;
        EXPECT_LT(low, summary.perplexity.value);
        EXPECT_GT(high, summary.perplexity.value);
        covered += low <= std::exp(1.0) && std::exp(1.0) <= high ? 1 : 0;
        width += std::log(high / low) / kSets;
    }
    // 50 blocks: the bootstrap's intervals are a little narrow. Of 100 intervals 95 +- 2.2 cover.
    std::printf("[eval] %d of %d intervals cover the true mean; their width is %.4f, 2 x 1.96 sd / sqrt(n) = %.4f\n",
                covered, kSets, width, 2 * 1.96 / std::sqrt(kCount));
    EXPECT_GE(covered, 87);
    EXPECT_NEAR(width, 2 * 1.96 / std::sqrt(double{kCount}), 0.1 * 2 * 1.96 / std::sqrt(double{kCount}));
}

TEST(EvalStatistics, CountsNeighboursThatAreAlikeLess) {
    // Runs of 64 equal values carry as much as one value each: intervals must be 8 times as wide.
    std::mt19937 random(3);
    std::normal_distribution<double> draw(-2, 1);
    std::vector<double> alike, apart;
    for (int i = 0; i < 100; ++i) alike.insert(alike.end(), 64, draw(random));
    for (int i = 0; i < 6400; ++i) apart.push_back(draw(random));
    const auto width = [](const std::vector<double>& log_p) {
        const Interval interval = *summarise(scores_of(log_p)).perplexity.interval;
        return std::log(interval.high / interval.low);
    };
    EXPECT_NEAR(width(alike) / width(apart), 8, 2);
}

TEST(EvalStatistics, GivesNoIntervalForAFewBlocks) {
    EXPECT_FALSE(summarise(scores_of(std::vector<double>(9 * 64, -1.0))).perplexity.interval);
    const Measure steady = summarise(scores_of(std::vector<double>(9 * 64 + 1, -1.0))).perplexity;
    ASSERT_TRUE(steady.interval);
    EXPECT_DOUBLE_EQ(steady.interval->low, std::exp(1.0));
    EXPECT_DOUBLE_EQ(steady.interval->high, std::exp(1.0));
}

TEST(EvalStatistics, PercentilesAreOfTheNearestRank) {
    EvalScores scores = scores_of(std::vector<double>(200, -1.0));
    scores.other_log_p.assign(200, -1.0);
    scores.same_best.assign(200, 1);
    for (int i = 0; i < 200; ++i) scores.kl.push_back((i * 77 % 200 + 1) / 1000.0);  // 0.001 .. 0.2 in some order
    const AgainstSummary against = *summarise(scores).against;
    EXPECT_DOUBLE_EQ(against.kl_median, 0.1);
    EXPECT_DOUBLE_EQ(against.kl_99, 0.198);
    EXPECT_DOUBLE_EQ(against.kl_most, 0.2);
    EXPECT_EQ(scores.kl[static_cast<size_t>(against.kl_most_at - 1)], 0.2);
    EXPECT_DOUBLE_EQ(against.perplexity_ratio.value, 1);
}

class EvalRun : public testing::Test {
  protected:
    EvalRun() {
        test::TinyModel model = test::tiny("qwen3");
        model.matrix_format = FormatId::q8_0;
        model.layers = 1;
        const std::filesystem::path path = model.write("eval.gguf");
        const EngineSettings settings{.model = path, .threads = 1, .context = 32, .chunk = 8, .logits_rows = 8};
        engine = Engine::open(settings, nullptr).value();
        other_engine = Engine::open(settings, nullptr).value();
        std::filesystem::remove(path);
        state = std::filesystem::temp_directory_path() / ("invar_eval_" + std::to_string(::getpid()) + ".safetensors");
    }
    ~EvalRun() override { std::filesystem::remove(state); }

    EvalRequest request() const {
        EvalRequest made{.text = text_of(150, 5), .identity = {{"model", "one"}, {"context", "32"}}, .state = state};
        made.windows = cut_windows(made.text, {.context = 32, .stride = 16}).value();
        return made;
    }
    Result<EvalScores> run(const EvalRequest& wanted, const EvalProgress& progress = nullptr) {
        EngineRunner model(*engine), other(*other_engine);
        return run_eval({.model = model, .other = &other, .pool = *pool}, wanted, progress);
    }

    std::unique_ptr<Engine> engine, other_engine;
    std::unique_ptr<ThreadPool> pool = ThreadPool::create({.threads = 2}).value();
    std::filesystem::path state;
};

TEST_F(EvalRun, ScoresAreThoseOfPlainPasses) {
    EvalRequest wanted = request();
    wanted.state.clear();
    const EvalScores scores = run(wanted).value();
    ASSERT_EQ(scores.count(), 150);
    EXPECT_EQ(scores.first, 0);
    // The same by feeding each window in one go and a softmax in long double.
    EngineRunner runner(*engine);
    int64_t compared = 0;
    for (const EvalWindow& window : wanted.windows) {
        std::vector<int32_t> tokens = {*wanted.text.bos};
        tokens.insert(tokens.end(), wanted.text.tokens.begin() + window.first, wanted.text.tokens.begin() + window.end);
        const int32_t sequence = runner.cache().add_sequence();
        const FeedRequest all{.sequence = sequence, .tokens = tokens, .chunk = 5, .all_logits = true};
        ASSERT_TRUE(feed(runner, all, {}, [&](const Batch& batch, std::span<const float> logits) {
            const size_t width = logits.size() / batch.logits_rows.size();
            for (size_t i = 0; i < batch.rows.size(); ++i) {
                const int64_t token = window.first + batch.rows[i].position;  // that this row predicts
                if (token < window.scored || token >= window.end) continue;
                long double sum = 0;
                for (size_t t = 0; t < width; ++t) sum += std::exp(static_cast<long double>(logits[i * width + t]));
                const int32_t right = wanted.text.tokens[static_cast<size_t>(token)];
                const auto expected =
                    static_cast<double>(logits[i * width + static_cast<size_t>(right)] - std::log(sum));
                EXPECT_NEAR(scores.log_p[static_cast<size_t>(token)], expected, 1e-12) << token;
                ++compared;
            }
        }));
        runner.cache().remove_sequence(sequence);
    }
    EXPECT_EQ(compared, 150);
    for (const double kl : scores.kl) EXPECT_EQ(kl, 0);  // beside itself
    EXPECT_EQ(std::accumulate(scores.same_best.begin(), scores.same_best.end(), 0), 150);
    EXPECT_EQ(scores.log_p, scores.other_log_p);
}

TEST_F(EvalRun, GoesOnWhereItStopped) {
    EvalRequest wanted = request();
    wanted.state.clear();
    const EvalScores whole = run(wanted).value();
    wanted = request();
    wanted.most_windows = 3;
    EXPECT_EQ(run(wanted).value().windows, 3);
    wanted.most_windows = 0;
    int64_t windows = 0;
    EXPECT_EQ(run(wanted, [&](const EvalScores&, int64_t) { return ++windows < 2; }).value().windows, 5);  // stopped
    const EvalScores rest = run(wanted, [&](const EvalScores&, int64_t) { return ++windows > 0; }).value();
    EXPECT_EQ(windows, static_cast<int64_t>(wanted.windows.size()) - 3);  // nothing was computed twice
    EXPECT_EQ(rest.log_p, whole.log_p);
    EXPECT_EQ(rest.kl, whole.kl);
    EXPECT_EQ(rest.is_best, whole.is_best);
    EXPECT_EQ(rest.windows, whole.windows);
}

TEST_F(EvalRun, RefusesTheStateOfAnotherEvaluation) {
    EvalRequest wanted = request();
    wanted.most_windows = 1;
    ASSERT_TRUE(run(wanted));
    wanted.identity[0].second = "two";
    const auto refused = run(wanted);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("its model is one and not two"), std::string::npos)
        << refused.error().message;

    wanted = request();  // scores that are not those of its windows
    EvalScores short_of_one = load_scores(state, wanted.identity).value().value();
    short_of_one.log_p.pop_back();
    short_of_one.is_best.pop_back();
    short_of_one.other_log_p.pop_back();
    short_of_one.kl.pop_back();
    short_of_one.same_best.pop_back();
    ASSERT_TRUE(save_scores(state, wanted.identity, short_of_one));
    EXPECT_FALSE(run(wanted));
    short_of_one.kl.pop_back();
    ASSERT_TRUE(save_scores(state, wanted.identity, short_of_one));
    EXPECT_FALSE(run(wanted));
    std::ofstream(state, std::ios::binary) << "no state at all";
    EXPECT_FALSE(run(wanted));
}

}  // namespace
}  // namespace invar
