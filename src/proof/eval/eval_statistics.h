// What the scores of an evaluation come to, with 95 % confidence intervals: a block bootstrap. Neighbouring tokens are
// not independent, so what is drawn with repetition is not tokens but blocks of 64 consecutive ones; 1000 draws of as
// many blocks as there are, the 2.5th and 97.5th percentile of the statistic. The draws are a function of their number
// (arithmetic/philox.h): the same scores give the same intervals. Source of the method: Kuensch, "The jackknife and the
// bootstrap for general stationary observations" (1989), with blocks that do not overlap (Carlstein 1986).
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
    Measure perplexity_ratio;                      // the model's / the other's, over the same tokens
    Measure kl_mean;                               // nats
    double kl_median = 0, kl_99 = 0, kl_most = 0;  // nearest rank
    int64_t kl_most_at = 0;                        // token of the text that was being predicted
    Measure same_best;                             // share of tokens where both prefer the same next token
    Measure change_mean;                           // of the probability of the right token: model's - other's
    double change_rms = 0, change_most = 0;        // change_most: of the largest magnitude, with its sign
    int64_t change_most_at = 0;
};

struct EvalSummary {
    int64_t tokens = 0;  // scored
    Measure perplexity;  // exp of the mean negative log probability
    Measure is_best;     // share of tokens that were the model's first choice
    std::optional<AgainstSummary> against;
};

// Of at least one score.
EvalSummary summarise(const EvalScores& scores);

}  // namespace invar
