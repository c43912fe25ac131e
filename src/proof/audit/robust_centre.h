// The median of numbers and their median distance from it. Both hardly move if a few numbers are wrong, so outliers are
// measured against them.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace invar {

inline double median_of(std::vector<double> values) {  // of at least one; the upper of two middle ones
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

struct RobustCentre {
    double median = 0, deviation = 0;  // deviation: the median distance from the median
};
inline RobustCentre robust_centre(const std::vector<double>& values) {
    const double median = median_of(values);
    std::vector<double> distances;
    for (const double value : values) distances.push_back(std::fabs(value - median));
    return {.median = median, .deviation = median_of(std::move(distances))};
}

}  // namespace invar
