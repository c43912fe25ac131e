#include "proof/eval/next_token.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace invar {

NextToken next_token(std::span<const float> logits) {
    CHECK(!logits.empty(), "a row of logits has a token");
    const auto best = std::max_element(logits.begin(), logits.end());  // the first of the largest
    const double most = *best;
    double sum = 0;
    for (const float logit : logits) sum += std::exp(logit - most);
    return {.log_sum = most + std::log(sum), .best = static_cast<int32_t>(best - logits.begin())};
}

double kl_divergence(const LogitsRow& p, const LogitsRow& q) {
    CHECK(p.logits.size() == q.logits.size(), "distributions over the same tokens are compared");
    double sum = 0;
    for (size_t i = 0; i < p.logits.size(); ++i) {
        const double log_p = p.logits[i] - p.summary.log_sum, log_q = q.logits[i] - q.summary.log_sum;
        sum += std::exp(log_p) * (log_p - log_q);
    }
    return std::max(0.0, sum);
}

}  // namespace invar
