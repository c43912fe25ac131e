// The norms, with one operation per line.
#include "arithmetic/norm.h"

#include <cmath>

#include "arithmetic/reduce.h"

namespace invar::law {

float rms_norm_factor(const float* x, int64_t n, float eps) {
    const float mean = sum_of_squares(x, n) / static_cast<float>(n);
    return 1.0f / std::sqrt(mean + eps);
}

void rms_norm(const float* x, const float* weight, int64_t n, float eps, float* y) {
    const float r = rms_norm_factor(x, n, eps);
    for (int64_t i = 0; i < n; ++i) {
        const float scaled = x[i] * r;
        y[i] = weight ? scaled * weight[i] : scaled;
    }
}

void l2_norm(const float* x, int64_t n, float eps, float* y) {
    const float r = 1.0f / std::sqrt(sum_of_squares(x, n) + eps);
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] * r;
}

void layer_norm(const float* x, const float* weight, const float* bias, int64_t n, float eps, float* y) {
    const float mean = sum(x, n) / static_cast<float>(n);
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] - mean;
    const float variance = sum_of_squares(y, n) / static_cast<float>(n);
    const float r = 1.0f / std::sqrt(variance + eps);
    for (int64_t i = 0; i < n; ++i) {
        const float scaled = y[i] * r;
        y[i] = bias ? std::fma(scaled, weight[i], bias[i]) : scaled * weight[i];
    }
}

}  // namespace invar::law
