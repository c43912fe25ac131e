// Pooling, with one operation per line.
#include "arithmetic/pooling.h"

#include <cmath>

#include "arithmetic/reduce.h"

namespace invar {

std::string_view pooling_name(Pooling mode) {
    switch (mode) {
        case Pooling::cls:
            return "cls";
        case Pooling::max:
            return "max";
        case Pooling::mean:
            return "mean";
        case Pooling::mean_sqrt_length:
            return "mean_sqrt_length";
        case Pooling::weighted_mean:
            return "weighted_mean";
        case Pooling::last:
            return "last";
    }
    return "";
}

namespace law {

void pool_row(Pooling mode, int64_t t, const float* row, int64_t width, float* state) {
    switch (mode) {
        case Pooling::cls:
            for (int64_t i = 0; t == 0 && i < width; ++i) state[i] = row[i];
            return;
        case Pooling::last:
            for (int64_t i = 0; i < width; ++i) state[i] = row[i];
            return;
        case Pooling::max:
            for (int64_t i = 0; i < width; ++i) state[i] = t == 0 || row[i] > state[i] ? row[i] : state[i];
            return;
        case Pooling::mean:
        case Pooling::mean_sqrt_length:
            for (int64_t i = 0; i < width; ++i) state[i] = state[i] + row[i];
            return;
        case Pooling::weighted_mean: {
            const auto weight = static_cast<float>(t + 1);
            for (int64_t i = 0; i < width; ++i) state[i] = std::fma(weight, row[i], state[i]);
            return;
        }
    }
}

void pool_end(Pooling mode, int64_t n, int64_t width, float* state) {
    float divisor = 1;
    if (mode == Pooling::mean) divisor = static_cast<float>(n);
    if (mode == Pooling::mean_sqrt_length) divisor = std::sqrt(static_cast<float>(n));
    if (mode == Pooling::weighted_mean) divisor = static_cast<float>(n * (n + 1) / 2);
    if (mode == Pooling::cls || mode == Pooling::max || mode == Pooling::last) return;
    for (int64_t i = 0; i < width; ++i) state[i] = state[i] / divisor;
}

void unit_length(const float* x, int64_t n, float* y) {
    constexpr float kShortest = 1e-12f;
    const float root = std::sqrt(sum_of_squares(x, n));
    const float length = root > kShortest ? root : kShortest;
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] / length;
}

}  // namespace law
}  // namespace invar
