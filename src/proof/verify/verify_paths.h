// Lists every way in which this machine can compute a model: instruction sets, kernel rows, thread counts, stored
// forms, and for each the schedules of prompts.h. Paths that cannot run here are listed with the reason, because
// skipped is not passed.
#pragma once

#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/engine_settings.h"
#include "proof/verify/prompts.h"

namespace invar {

// What a path compares: every stage of every schedule, or recorded passes with plain ones (recorded_passes.h).
enum class PathLooks : uint8_t { at_stages, at_recorded_passes };

struct VerifyPath {
    std::string name;         // "avx512, 2 threads, repacked"
    EngineSettings settings;  // settings of the engine that runs it
    std::vector<Schedule> schedules;
    std::string flags;    // command-line flags for the same path: "--isa avx512 --threads 2 --form repacked"
    std::string skipped;  // why it cannot run; "" if it can
    PathLooks looks = PathLooks::at_stages;
};

// `given` has the model, cache type and budget; its isa and threads, if given, are upper limits. The first path is the
// definition: scalar kernels, one thread, weights as stored. The last paths are those of the device in `given`, or else
// of the first device that its open_device opens.
std::vector<VerifyPath> verify_paths(const EngineSettings& given, const WeightPlan& plan);

}  // namespace invar
