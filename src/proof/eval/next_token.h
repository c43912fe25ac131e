// The distribution of the next token that a row of logits stands for, in binary64 with the usual shift by the largest
// logit, and the distance between two rows. All logarithms are natural. The logits must be finite: otherwise the engine
// has failed.
#pragma once

#include <cstdint>
#include <span>

namespace invar {

struct NextToken {
    double log_sum = 0;  // log of the sum of exp(logit): log p(t) = logit of t - log_sum
    int32_t best = 0;    // the token with the largest logit; the lowest among equals
};
NextToken next_token(std::span<const float> logits);

// KL(p || q) = sum of p (log p - log q), in nats, of two rows over the same tokens. Not negative.
struct LogitsRow {
    std::span<const float> logits;
    NextToken summary;
};
double kl_divergence(const LogitsRow& p, const LogitsRow& q);

}  // namespace invar
