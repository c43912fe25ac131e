// Measures how far a path is from the float64 reference, per stage and per position, and which part of the distance is
// due to the quantisation of activations that the arithmetic requires. Equality shows that every machine computes the
// same; this shows how accurate it is.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "proof/verify/prompts.h"
#include "proof/verify/stage_book.h"

namespace invar {

struct StageAccuracy {
    StageKey key;
    std::string verb;
    double relative_rms = 0;  // rms(x - reference) / rms(reference) over all positions
    double worst = 0;         // largest |x - reference| / rms(reference)
    std::string worst_probe;
    int64_t worst_position = 0, worst_element = 0;
    double worst_value = 0, worst_reference = 0;
    double quantization = 0;  // relative RMS between the reference with quantised activations and the plain one
    double rounding = 0;      // relative RMS between x and the reference with quantised activations
    int64_t integers = 0, integers_equal = 0;  // expert ids, and how many of them the reference also chooses
};

struct PositionAccuracy {
    std::string probe;
    int64_t position = 0;
    double kl = 0;  // KL(reference || path) of the next token, in nats
    bool same_first = true;
    double first_margin = 0;  // the reference's largest logit minus its second largest
};

struct AccuracyReport {
    std::vector<StageAccuracy> stages;  // in forward order
    std::vector<PositionAccuracy> positions;
    // For every routed row of the reference: the probability of the last chosen expert minus that of the best not
    // chosen.
    std::vector<double> routing_margins;
    double seconds = 0;
    int64_t covered_positions = 0, all_positions = 0;

    double mean_kl() const;
    double largest_kl() const;
    double same_first_share() const;
};

// Runs the reference over the probes, or over their first positions, and compares the book with it.
struct AccuracyRequest {
    std::string model;  // the file
    int threads = 0;
    double seconds = 20;  // for both passes of the reference; if it is too little, fewer positions are computed
    std::function<void(int64_t done, int64_t total)> progress;
};
Result<AccuracyReport> measure_accuracy(const AccuracyRequest& request, const ProbeSet& probes, const StageBook& book);

}  // namespace invar
