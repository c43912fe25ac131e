// Two sides measured in turns, so that whatever slows the machine meets both: a b, b a, a b, ... Used by `bench
// --compare`.
#pragma once

#include <functional>
#include <vector>

#include "base/result.h"
#include "bench/statistics.h"

namespace invar {

// One turn of a side: tokens a second of each work, always as many and in the same order.
using Turn = std::function<Result<std::vector<double>>()>;

struct PairedSpeeds {  // of one work; first[i] and second[i] were taken next to each other
    std::vector<double> first, second;

    Spread first_speed() const { return spread_of(first); }
    Spread second_speed() const { return spread_of(second); }
    double ratio_of_medians() const { return second_speed().median / first_speed().median; }
    Spread ratios() const { return spread_of(paired_ratios(first, second)); }
};

// `pairs` turns of each side, which goes first being exchanged from pair to pair. Errors: those of a turn; sides that
// do not measure the same number of works.
Result<std::vector<PairedSpeeds>> alternate(const Turn& first, const Turn& second, int pairs);

}  // namespace invar
