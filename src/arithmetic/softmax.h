// Softmax over one row by the law; the router and the sampler use it. Attention has its own, in chunks (attention.h).
#pragma once

#include <cstdint>

namespace invar::law {

// m = the largest logit, e[i] = exp(logits[i] - m), probabilities[i] = e[i] / sum(e) by the reduce law.
// -inf is allowed (probability 0) unless every logit is -inf; n >= 1. probabilities may be logits.
void softmax(const float* logits, int64_t n, float* probabilities);

}  // namespace invar::law
