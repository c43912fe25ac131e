// Choosing a token without the whole row of logits: what a device is asked for instead, and what it answers. It runs
// steps 1 to 4 of the pipeline (docs/arithmetic.md, section 7) and returns the first tokens by rank; the sampler
// (generate/sampler.h), which makes the request, does the rest with them.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace invar {

// What happens to one token's logit, in this order; tokens without an edit keep theirs.
struct LogitEdit {
    int32_t token = 0;
    int32_t banned = 0;  // 1: becomes -infinity
    float bias = 0;
    int32_t has_bias = 0;
    int32_t seen = 0;  // times in the penalty window; 0: no penalties
};

// Of a request, so that the memory it takes on a device is known before any is made.
inline constexpr int kMostPreselected = 256, kMostLogitEdits = 4096;

struct Preselection {
    std::vector<LogitEdit> edits;  // at most one a token, at most kMostLogitEdits
    float repetition_penalty = 1, frequency_penalty = 0, presence_penalty = 0;
    float temperature = 1;  // 0: no division
    int count = 1;          // first tokens by rank that are wanted, 1 .. kMostPreselected
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
