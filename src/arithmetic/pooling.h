// How the rows of a text become one vector (docs/arithmetic.md, section 9): the rows are taken one after the other, so
// no result depends on the pieces in which they were computed. Source: sentence-transformers, whose modes these are.
#pragma once

#include <cstdint>
#include <string_view>

namespace invar {

enum class Pooling : uint8_t {
    cls,               // the first row
    max,               // the largest of each element
    mean,              // the sum over the number of rows
    mean_sqrt_length,  // the sum over the root of that number
    weighted_mean,     // row t counts t + 1 times
    last,              // the last row
};
std::string_view pooling_name(Pooling mode);  // "mean"

namespace law {

// Takes row t = 0, 1, ... of `width` elements into the state, [width], which is +0 before the first:
//   cls: s = x of row 0;  last: s = x;  max: s = x of row 0, then x > s ? x : s;
//   mean, mean_sqrt_length: s = s + x;  weighted_mean: s = fma(float(t + 1), x, s)
void pool_row(Pooling mode, int64_t t, const float* row, int64_t width, float* state);

// Makes the vector of the state behind n >= 1 rows:
//   mean: s / float(n);  mean_sqrt_length: s / sqrt(float(n));  weighted_mean: s / float(n (n + 1) / 2)
void pool_end(Pooling mode, int64_t n, int64_t width, float* state);

// length = sqrt(sum_of_squares(x)), length = length > 1e-12 ? length : 1e-12, y[i] = x[i] / length. y may be x. Source:
// torch.nn.functional.normalize, whose floor this is.
void unit_length(const float* x, int64_t n, float* y);

}  // namespace law
}  // namespace invar
