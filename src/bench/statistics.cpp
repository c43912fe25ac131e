#include "bench/statistics.h"

#include <algorithm>

#include "base/check.h"

namespace invar {

Spread spread_of(std::vector<double> values) {
    CHECK(!values.empty(), "a spread is of one value or more");
    std::sort(values.begin(), values.end());
    const size_t middle = values.size() / 2;
    const double median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
    return {.median = median, .low = values.front(), .high = values.back()};
}

std::vector<double> paired_ratios(const std::vector<double>& first, const std::vector<double>& second) {
    CHECK(first.size() == second.size(), "a pair has two sides");
    std::vector<double> ratios;
    for (size_t i = 0; i < first.size(); ++i) ratios.push_back(second[i] / first[i]);
    return ratios;
}

}  // namespace invar
