// Every way this machine can compute a model, as a list: instruction sets, kernel rows, thread counts, stored forms,
// and within each the schedules of probes.h. What cannot run here is in the list too, with its reason: skipped is not
// passed.
#pragma once

#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/engine_settings.h"
#include "proof/verify/prompts.h"

namespace invar {

// What is looked at: every stage of every schedule, or what recorded passes come to beside plain ones
// (recorded_passes.h).
enum class PathLooks : uint8_t { at_stages, at_recorded_passes };

struct VerifyPath {
    std::string name;         // "avx512, 2 threads, repacked"
    EngineSettings settings;  // of the engine that runs it
    std::vector<Schedule> schedules;
    std::string flags;    // of the program, for the same path: "--isa avx512 --threads 2 --form repacked"
    std::string skipped;  // why it cannot run; "": it can
    PathLooks looks = PathLooks::at_stages;
};

// `given`: model, cache type and budget; its isa and threads, where given, are the most that is used. The first path is
// the definition: scalar kernels, one thread, weights as stored. The last are those of the device of `given`, or of the
// first that its open_device opens.
std::vector<VerifyPath> verify_paths(const EngineSettings& given, const WeightPlan& plan);

}  // namespace invar
