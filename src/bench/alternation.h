// Measures two sides in turns (a b, b a, a b, ...), so that whatever slows the machine slows both. `bench --compare`
// uses it.
#pragma once

#include <functional>
#include <vector>

#include "base/result.h"
#include "bench/statistics.h"

namespace invar {

// One turn of a side: tokens per second of each work. Every turn gives as many, in the same order.
using Turn = std::function<Result<std::vector<double>>()>;

struct PairedSpeeds {  // of one work; first[i] and second[i] were measured one after the other
    std::vector<double> first, second;

    Spread first_speed() const { return spread_of(first); }
    Spread second_speed() const { return spread_of(second); }
    double ratio_of_medians() const { return second_speed().median / first_speed().median; }
    Spread ratios() const { return spread_of(paired_ratios(first, second)); }
};

// Measures `pairs` turns of each side; the side that goes first alternates. Errors: those of a turn; sides that measure
// different numbers of works.
Result<std::vector<PairedSpeeds>> alternate(const Turn& first, const Turn& second, int pairs);

}  // namespace invar
