// RMSNorm by the law. The sum of squares follows the reduce law (reduce.h); every later step is rounded once.
#pragma once

#include <cstdint>

namespace invar::law {

// r = 1 / sqrt(sum_of_squares(x) / float(n) + eps), y[i] = (x[i] * r) * weight[i]; without a weight (nullptr)
// y[i] = x[i] * r. y may be x. n >= 1. Source: Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019).
void rms_norm(const float* x, const float* weight, int64_t n, float eps, float* y);

// Returns the factor r alone, for verbs that fuse the norm with the next step.
float rms_norm_factor(const float* x, int64_t n, float eps);

}  // namespace invar::law
