#include "proof/eval/eval_statistics.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "arithmetic/philox.h"
#include "base/check.h"

namespace invar {
namespace {

constexpr uint64_t kSeed = 1;

double mean(const std::vector<double>& values) {
    double sum = 0;
    for (const double value : values) sum += value;
    return sum / static_cast<double>(values.size());
}

// Holds how often each block is drawn in every draw. All statistics share the draws, so that they can be compared.
class Bootstrap {
  public:
    explicit Bootstrap(size_t count) : count_(count), blocks_((count + kBootstrapBlock - 1) / kBootstrapBlock) {}

    // `shown` turns the mean into the statistic, e.g. exp(-x) for a perplexity. It must be monotonous.
    Measure measure(const std::vector<double>& values, const std::function<double(double)>& shown) const {
        CHECK(values.size() == count_, "every statistic is over all scores");
        Measure result{.value = shown(mean(values)), .interval = std::nullopt};
        if (static_cast<int64_t>(blocks_) < kLeastBlocks) return result;
        std::vector<double> sums(blocks_, 0.0);
        for (size_t i = 0; i < count_; ++i) sums[i / kBootstrapBlock] += values[i];
        std::vector<double> means;
        for (uint64_t draw = 0; draw < kBootstrapDraws; ++draw) {
            double sum = 0;
            int64_t drawn = 0;
            for (size_t i = 0; i < blocks_; ++i) {
                const float u = law::uniform(kSeed, draw * blocks_ + i);
                const size_t block = std::min(static_cast<size_t>(u * static_cast<double>(blocks_)), blocks_ - 1);
                sum += sums[block];
                drawn += size_of(block);
            }
            means.push_back(shown(sum / static_cast<double>(drawn)));
        }
        std::sort(means.begin(), means.end());
        result.interval = {.low = means[kBootstrapDraws * 25 / 1000], .high = means[kBootstrapDraws * 975 / 1000 - 1]};
        return result;
    }

  private:
    int64_t size_of(size_t block) const {
        return static_cast<int64_t>(std::min(count_ - block * kBootstrapBlock, static_cast<size_t>(kBootstrapBlock)));
    }
    size_t count_, blocks_;
};

double identity(double x) { return x; }
double perplexity(double mean_log_p) { return std::exp(-mean_log_p); }

std::vector<double> as_doubles(const std::vector<uint8_t>& flags) { return {flags.begin(), flags.end()}; }

double quantile(std::vector<double> values, double share) {
    const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(values.size())));
    const size_t index = std::clamp<size_t>(rank, 1, values.size()) - 1;
    std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(index), values.end());
    return values[index];
}

AgainstSummary summarise_against(const EvalScores& scores, const Bootstrap& bootstrap) {
    AgainstSummary against;
    std::vector<double> ratio, change;
    double squares = 0;
    for (size_t i = 0; i < scores.log_p.size(); ++i) {
        ratio.push_back(scores.log_p[i] - scores.other_log_p[i]);
        change.push_back(std::exp(scores.log_p[i]) - std::exp(scores.other_log_p[i]));
        squares += change[i] * change[i];
        if (std::fabs(change[i]) > std::fabs(against.change_most)) {
            against.change_most = change[i];
            against.change_most_at = scores.first + static_cast<int64_t>(i);
        }
    }
    const auto most = std::max_element(scores.kl.begin(), scores.kl.end());
    against.other_perplexity = bootstrap.measure(scores.other_log_p, perplexity);
    against.perplexity_ratio = bootstrap.measure(ratio, perplexity);
    against.kl_mean = bootstrap.measure(scores.kl, identity);
    against.kl_median = quantile(scores.kl, 0.5);
    against.kl_99 = quantile(scores.kl, 0.99);
    against.kl_most = *most;
    against.kl_most_at = scores.first + (most - scores.kl.begin());
    against.same_best = bootstrap.measure(as_doubles(scores.same_best), identity);
    against.change_mean = bootstrap.measure(change, identity);
    against.change_rms = std::sqrt(squares / static_cast<double>(change.size()));
    return against;
}

}  // namespace

EvalSummary summarise(const EvalScores& scores) {
    CHECK(scores.count() > 0, "a summary is of at least one score");
    const Bootstrap bootstrap(scores.log_p.size());
    EvalSummary summary{.tokens = scores.count()};
    summary.perplexity = bootstrap.measure(scores.log_p, perplexity);
    summary.is_best = bootstrap.measure(as_doubles(scores.is_best), identity);
    if (scores.has_other()) summary.against = summarise_against(scores, bootstrap);
    return summary;
}

}  // namespace invar
