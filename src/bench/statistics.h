// Medians and spreads of repeated measurements, whatever was measured (measurement.h).
#pragma once

#include <vector>

namespace invar {

struct Spread {
    double median = 0, low = 0, high = 0;  // low and high: the least and the greatest value
};

// `values` holds at least one. The median of an even number of values is the mean of the two in the middle.
Spread spread_of(std::vector<double> values);

// second[i] / first[i] of two series taken in pairs, so that whatever slows both sides of a pair cancels out.
std::vector<double> paired_ratios(const std::vector<double>& first, const std::vector<double>& second);

}  // namespace invar
