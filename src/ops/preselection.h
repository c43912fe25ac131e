// Choosing a token without copying the whole row of logits to the host: the request to a device, and its answer. The
// device runs steps 1 to 4 of the pipeline (docs/arithmetic.md, section 7) and returns the first tokens by rank. The
// sampler (generate/sampler.h) makes the request and does the remaining steps.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace invar {

// The changes to one token's logit, applied in this order; tokens without an edit keep theirs.
struct LogitEdit {
    int32_t token = 0;
    int32_t banned = 0;  // 1: becomes -infinity
    float bias = 0;
    int32_t has_bias = 0;
    int32_t seen = 0;  // how often it occurs in the penalty window; 0: no penalties
};

// The limits of a request; they bound the device memory before any request is made.
inline constexpr int kMostPreselected = 256, kMostLogitEdits = 4096;

struct Preselection {
    std::vector<LogitEdit> edits;  // at most one a token, at most kMostLogitEdits
    float repetition_penalty = 1, frequency_penalty = 0, presence_penalty = 0;
    float temperature = 1;  // 0: no division
    int count = 1;          // how many first tokens by rank are wanted, 1 .. kMostPreselected
};

struct RankedLogit {
    int32_t token = 0;
    float logit = 0;  // after step 4; a zero has no sign
};

struct RankedLogits {
    std::vector<RankedLogit> first;    // by (logit descending, token ascending); all tokens if there are fewer
    std::optional<RankedLogit> wrong;  // the first token whose logit was NaN or +infinity as it came
};

}  // namespace invar
