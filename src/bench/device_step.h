// One pass taken apart: which kernels a device runs for which verbs, how long each takes between two events, and what
// of the pass is in no kernel. What a call must read, write and multiply is what its row of the verb table says
// (ops/verbs.h). Ceilings and shares: machine_ceilings.h and the command that prints.
#pragma once

#include <string>
#include <vector>

#include "bench/engine_subject.h"
#include "ops/verb_call.h"

namespace invar {

// All calls of one verb over weights of the same formats: a line of the table. Verbs that are computed by one launch
// ("linear q4_k+q6_k") are one call.
struct StepLine {
    std::string verb, formats;
    std::vector<std::string> kernels;  // in the order of their launches
    int64_t calls = 0, launches = 0;
    double milliseconds = 0;
    // Read and written at least: weights, the cache and every input once, every result once. Experts: those that rows
    // were sent to.
    int64_t bytes = 0;
    int64_t multiply_adds = 0;
    bool on_tensor_cores = false;  // products of quantised weights: what the int8 ceiling is about
};

struct DeviceStep {
    Work work;                      // of which this is the first pass
    int64_t rows = 0;               // of the pass
    double seconds_as_run = 0;      // as generation runs it: recorded passes are replayed, nothing is observed
    double seconds_one_by_one = 0;  // every kernel launched by itself
    std::vector<StepLine> lines;    // verbs that launched something, by falling time
    int64_t launches = 0;
    double kernel_seconds = 0;  // the sum over the kernels

    // What is in no kernel: waiting for launches, copies, and, where a part of the model is there, the CPU.
    double gap_as_run() const { return seconds_as_run - kernel_seconds; }
    double gap_one_by_one() const { return seconds_one_by_one - kernel_seconds; }
};

// The first pass of a work on an engine that uses a device; the fastest of `runs` of each kind. Errors: those of the
// passes.
struct StepSettings {
    int runs = 3;
    Clock clock;
};
Result<DeviceStep> measure_step(const Work& work, EngineSubject& subject, Engine& engine, const StepSettings& settings);

}  // namespace invar
