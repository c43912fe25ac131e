// Statistics of the scores of an evaluation, with 95 % confidence intervals from a block bootstrap. Neighbouring tokens
// are not independent, so blocks of 64 consecutive tokens are drawn with repetition, and not tokens. Each of 1000 draws
// takes as many blocks as there are; the interval is the 2.5th to the 97.5th percentile of the statistic. A draw is a
// function of its number (arithmetic/philox.h), so the same scores give the same intervals. Source of the method:
// Kuensch, "The jackknife and the bootstrap for general stationary observations" (1989), with blocks that do not
// overlap (Carlstein 1986).
#pragma once

#include <cstdint>
#include <optional>

#include "proof/eval/eval.h"

namespace invar {

inline constexpr int64_t kBootstrapBlock = 64, kBootstrapDraws = 1000;
inline constexpr int64_t kLeastBlocks = 10;  // with fewer, no interval is given

struct Interval {
    double low = 0, high = 0;
};
struct Measure {
    double value = 0;
    std::optional<Interval> interval;
};

struct AgainstSummary {
    Measure other_perplexity;
    Measure perplexity_ratio;                      // the model's divided by the other's, over the same tokens
    Measure kl_mean;                               // in nats
    double kl_median = 0, kl_99 = 0, kl_most = 0;  // percentiles by nearest rank
    int64_t kl_most_at = 0;                        // the token of the text that was predicted there
    Measure same_best;                             // share of tokens for which both prefer the same next token
    Measure change_mean;  // change of the probability of the right token: the model's minus the other's
    double change_rms = 0, change_most = 0;  // change_most: the largest in magnitude, with its sign
    int64_t change_most_at = 0;
};

struct EvalSummary {
    int64_t tokens = 0;  // scored tokens
    Measure perplexity;  // exp of the mean negative log probability
    Measure is_best;     // share of tokens that were the model's first choice
    std::optional<AgainstSummary> against;
};

// The scores must hold at least one token.
EvalSummary summarise(const EvalScores& scores);

}  // namespace invar
