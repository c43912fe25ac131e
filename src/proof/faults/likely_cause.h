// Names the fault that explains wrong results of a stage. The model runs on a recording once for each fault that fits
// the stage; the fault whose results are the wrong ones is the likely cause. It is a guess, and says how close it is.
#pragma once

#include <optional>
#include <string>

#include "proof/faults/faults.h"
#include "proof/record/model_runner.h"
#include "proof/record/recording.h"

namespace invar {

struct LikelyCause {
    std::string fault, meaning;  // as in the table of faults
    bool exact = false;          // the fault gives the wrong results in every bit
    double distance = 0;         // otherwise |results of the fault - wrong| / |wrong| of that position
};
// "as if the weight of a norm is left out (fault norm_without_weight gives these bits)"
std::string to_string(const LikelyCause& cause);

struct WrongStage {
    StageKey key;
    int64_t position = 0, element = 0;  // where the first wrong number is
};

// `inputs`: what every verb gets, with tokens. `wrong` holds the wrong results of the stage: those of a run with a
// fault, or `inputs` itself if the recording is what is wrong. `engine` must compute the stage without the fault, and
// with rows of logits for a whole chunk. Nothing: no fault comes at least ten times closer than the right results.
// Errors: those of replay().
Result<std::optional<LikelyCause>> likely_cause(EngineRunner& engine, const Recording& inputs, const Recording& wrong,
                                                const WrongStage& stage);

}  // namespace invar
