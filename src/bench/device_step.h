// Takes one pass on a device apart: which kernels run for which verbs, how long each takes between two events, and how
// much time of the pass is in no kernel. The verb table says what each call must read, write and multiply
// (ops/verbs.h). Ceilings are in machine_ceilings.h; the command computes shares and prints.
#pragma once

#include <string>
#include <vector>

#include "bench/engine_subject.h"
#include "ops/verb_call.h"

namespace invar {

// A line of the table: all calls of one verb on weights of the same formats. Calls that share a launch ("linear
// q4_k+q6_k") count as one.
struct StepLine {
    std::string verb, formats;
    std::vector<std::string> kernels;  // in the order of their launches
    int64_t calls = 0, launches = 0;
    double milliseconds = 0;
    // The least that must be read and written: weights, cache and inputs once, results once, and only the experts that
    // rows were sent to.
    int64_t bytes = 0;
    int64_t multiply_adds = 0;
    bool on_tensor_cores = false;  // products with quantised weights, to which the int8 ceiling applies
};

struct DeviceStep {
    Work work;                      // the work whose first pass this is
    int64_t rows = 0;               // rows of the pass
    double seconds_as_run = 0;      // as in generation: recorded passes are replayed and nothing observes them
    double seconds_one_by_one = 0;  // with every kernel launched by itself
    std::vector<StepLine> lines;    // verbs that launched a kernel, slowest first
    int64_t launches = 0;
    double kernel_seconds = 0;  // the sum over all kernels

    // Time in no kernel: waiting for launches, copies, and the CPU if it computes a part of the model.
    double gap_as_run() const { return seconds_as_run - kernel_seconds; }
    double gap_one_by_one() const { return seconds_one_by_one - kernel_seconds; }
};

// Measures the first pass of a work on an engine that uses a device. Of `runs` runs of each kind it takes the fastest.
// Errors: those of the passes.
struct StepSettings {
    int runs = 3;
    Clock clock;
};
Result<DeviceStep> measure_step(const Work& work, EngineSubject& subject, Engine& engine, const StepSettings& settings);

}  // namespace invar
