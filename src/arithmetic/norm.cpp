// RMSNorm, with one operation per line.
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

}  // namespace invar::law
