// How far two stored tensors of the same weight are from each other once both are decoded, what the formats explain of
// it, and what of the rest looks like a known mistake: a scale, a sign, an offset, permuted rows or experts, a damaged
// block. x is of A, y of B.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "machine/thread_pool.h"
#include "proof/diff/diff_match.h"

namespace invar {

struct WorstBlock {
    int64_t row = 0, column = 0, weights = 0;  // of the tensor; all experts counted
    double relative = 0;                 // rms(x - y) / rms(x) within it; a faint block counts as a tenth of typical
    int64_t offset_a = 0, offset_b = 0;  // bytes from the start of the files
};

struct TensorDistance {
    const MatchedTensor* pair = nullptr;
    double relative_rms = 0;  // rms(x - y) / rms(x)
    double expected = 0;      // the same as the two formats alone would make it, measured on a sample with our encoders
    double scale = 1;         // the best factor on y: <x, y> / <y, y>
    double scaled_rms = 0;    // rms(x - scale y) / rms(x)
    int64_t sign_flips = 0;   // weights beyond the RMS in A that have the other sign in B
    int64_t weights = 0;
    bool finite = true;
    // Every weight is the same binary32 once decoded, or has the same codes and scales, so that every product is the
    // same to the bit.
    bool equal_bits = false;
    WorstBlock worst;
    std::vector<std::string> suspicions;  // sentences; empty: nothing but quantisation
    bool unexplained = false;             // farther than the formats explain, and none of the known mistakes
};

// The factor between distance and expectation up to which nothing is suspected. Three: importance-weighted encoders
// trade 1.3 times the plain error, and the yardstick is a sample.
inline constexpr double kTolerance = 3;

TensorDistance tensor_distance(const MatchedTensor& pair, ThreadPool& pool);

}  // namespace invar
