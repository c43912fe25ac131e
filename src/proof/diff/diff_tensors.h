// Measures how far two stored tensors of one weight are apart once both are decoded, and how much of that their formats
// explain. Of the rest it tells what looks like a known mistake: a scale, a sign, an offset, permuted rows or experts,
// a damaged block. Below, x is a weight of A and y one of B.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "machine/thread_pool.h"
#include "proof/diff/diff_match.h"

namespace invar {

struct WorstBlock {
    int64_t row = 0, column = 0, weights = 0;  // place in the tensor, counting the rows of all experts
    double relative = 0;                 // rms(x - y) / rms(x) in the block; a faint block counts as a tenth of typical
    int64_t offset_a = 0, offset_b = 0;  // bytes from the start of the files
};

struct TensorDistance {
    const MatchedTensor* pair = nullptr;
    double relative_rms = 0;  // rms(x - y) / rms(x)
    double expected = 0;      // what the two formats alone would give, measured on a sample with our encoders
    double scale = 1;         // the best factor for y: <x, y> / <y, y>
    double scaled_rms = 0;    // rms(x - scale y) / rms(x)
    int64_t sign_flips = 0;   // weights larger than the RMS in A whose sign differs in B
    int64_t weights = 0;
    bool finite = true;
    // Every weight is the same binary32 once decoded, or has the same codes and scales, so that every product is the
    // same to the bit.
    bool equal_bits = false;
    WorstBlock worst;
    std::vector<std::string> suspicions;  // sentences; empty: quantisation explains everything
    bool unexplained = false;             // neither the formats nor a known mistake explains the distance
};

// A distance up to this many times the expected one is not suspicious. Three, because importance-weighted encoders
// accept 1.3 times the plain error, and the expectation is measured on a sample.
inline constexpr double kTolerance = 3;

TensorDistance tensor_distance(const MatchedTensor& pair, ThreadPool& pool);

}  // namespace invar
