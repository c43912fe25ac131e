// The norms by the law. Sums follow the reduce law (reduce.h); every later step is rounded once.
#pragma once

#include <cstdint>

namespace invar::law {

// r = 1 / sqrt(sum_of_squares(x) / float(n) + eps), y[i] = (x[i] * r) * weight[i]; without a weight (nullptr)
// y[i] = x[i] * r. y may be x. n >= 1. Source: Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019).
void rms_norm(const float* x, const float* weight, int64_t n, float eps, float* y);

// Returns the factor r alone, for verbs that fuse the norm with the next step.
float rms_norm_factor(const float* x, int64_t n, float eps);

// r = 1 / sqrt(sum_of_squares(x) + eps), y[i] = x[i] * r. y may be x. Source: the normalised queries and keys of
// gated delta nets (Yang et al. 2024, arXiv 2412.06464), whose eps is inside the root, beside the sum.
void l2_norm(const float* x, int64_t n, float eps, float* y);

// mean = sum(x) / float(n), c[i] = x[i] - mean, r = 1 / sqrt(sum_of_squares(c) / float(n) + eps),
// y[i] = fma(c[i] * r, weight[i], bias[i]); without a bias (nullptr) y[i] = (c[i] * r) * weight[i]. y may be x; n >= 1.
// Source: Ba, Kiros and Hinton, "Layer Normalization" (2016).
void layer_norm(const float* x, const float* weight, const float* bias, int64_t n, float eps, float* y);

}  // namespace invar::law
