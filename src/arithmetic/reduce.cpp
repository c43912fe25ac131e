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

// A full round of all lanes at a time, so that the compiler sees independent lanes, and then the last, partial round.
template <class Step>
float reduce(const float* t, int64_t n, Step step) {
    Lanes lanes{};
    int64_t first = 0;
    for (; first + kReduceLanes <= n; first += kReduceLanes)
        for (int j = 0; j < kReduceLanes; ++j) lanes[j] = step(lanes[j], t[first + j]);
    for (int j = 0; first + j < n; ++j) lanes[j] = step(lanes[j], t[first + j]);
    return fold(lanes);
}

}  // namespace

float sum(const float* t, int64_t n) {
    return reduce(t, n, [](float a, float value) { return a + value; });
}

float sum_of_squares(const float* t, int64_t n) {
    return reduce(t, n, [](float a, float value) { return std::fma(value, value, a); });
}

}  // namespace invar::law
