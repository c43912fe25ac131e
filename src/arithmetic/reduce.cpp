// The reduce law in its plainest form.
#include "arithmetic/reduce.h"

#include <array>
#include <cmath>

namespace invar::law {
namespace {

using Lanes = std::array<float, kReduceLanes>;

float fold(Lanes& lanes) {
    for (int half = kReduceLanes / 2; half > 0; half /= 2)
        for (int j = 0; j < half; ++j) lanes[j] = lanes[j] + lanes[j + half];
    return lanes[0];
}

}  // namespace

float sum(const float* t, int64_t n) {
    Lanes lanes{};
    for (int64_t i = 0; i < n; ++i) lanes[i % kReduceLanes] = lanes[i % kReduceLanes] + t[i];
    return fold(lanes);
}

float sum_of_squares(const float* t, int64_t n) {
    Lanes lanes{};
    for (int64_t i = 0; i < n; ++i) lanes[i % kReduceLanes] = std::fma(t[i], t[i], lanes[i % kReduceLanes]);
    return fold(lanes);
}

}  // namespace invar::law
