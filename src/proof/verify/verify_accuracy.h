// How far a path is from the float64 reference: per stage, per position, and how much of that is the quantisation of
// activations that the arithmetic asks for. Equality says that every machine computes the same; this says how good it
// is.
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
    double quantisation = 0;  // relative RMS of the reference with quantised activations against the plain one
    double rounding = 0;      // relative RMS of x against the reference with quantised activations
    int64_t integers = 0, integers_equal = 0;  // expert ids; those that the reference chooses too
};

struct PositionAccuracy {
    std::string probe;
    int64_t position = 0;
    double kl = 0;  // KL(reference || path) of the next token, in nats
    bool same_first = true;
    double first_margin = 0;  // of the reference's first two logits
};

struct AccuracyReport {
    std::vector<StageAccuracy> stages;  // forward order
    std::vector<PositionAccuracy> positions;
    // Of every routed row of the reference: probability of the last chosen expert less that of the first left out.
    std::vector<double> routing_margins;
    double seconds = 0;
    int64_t covered_positions = 0, all_positions = 0;

    double mean_kl() const;
    double largest_kl() const;
    double same_first_share() const;
};

// Runs the reference over (the first positions of) the probes and measures the book against it.
struct AccuracyRequest {
    std::string model;  // file
    int threads = 0;
    double seconds = 20;  // for both passes of the reference; fewer positions are computed where that is too little
    std::function<void(int64_t done, int64_t total)> progress;
};
Result<AccuracyReport> measure_accuracy(const AccuracyRequest& request, const ProbeSet& probes, const StageBook& book);

}  // namespace invar
