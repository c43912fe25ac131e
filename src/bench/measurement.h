// How a work is measured: a first run that is kept apart, then several counted ones. The machine's ceilings are
// measured before and after every run, because a shared host changes its speed within seconds. The work, the ceilings
// and the time come from outside (Subject, Ceilings, Clock): engine_subject.h and machine_ceilings.h provide them in
// the program, and tests invent them. alternation.h measures two subjects in turns.
#pragma once

#include <algorithm>
#include <functional>
#include <vector>

#include "base/result.h"
#include "bench/statistics.h"
#include "bench/work.h"

namespace invar {

class Subject {
  public:
    virtual ~Subject() = default;
    virtual Result<void> prepare(const Work& work) = 0;  // brings the context to the work's depth; not timed
    virtual Result<void> run(const Work& work) = 0;
    virtual Result<void> choose_token() = 0;              // chooses the most likely token after the last row computed
    virtual Result<WorkCost> cost(const Work& work) = 0;  // may compute the work to count it
};

struct Ceilings {
    double read_gigabytes = 0;      // 1e9 bytes per second
    double int8_multiply_adds = 0;  // 1e9 per second
    double copy_gigabytes = 0;      // for a device, bytes read plus bytes written; 0: not measured

    // The speed of memory: some devices read faster than they copy, others copy faster.
    double memory_gigabytes() const { return std::max(read_gigabytes, copy_gigabytes); }
};
using MeasureCeilings = std::function<Result<Ceilings>()>;
using Clock = std::function<double()>;  // seconds since an arbitrary moment

struct Run {
    double seconds = 0;
    double first_token_seconds = 0;  // for a prompt, until the first token of the answer is chosen
    Ceilings ceilings;               // the mean of those before and after the run
};

struct Measurement {
    Work work;
    WorkCost cost;
    Run first;              // the first run of this work, which warms up and is in no other figure
    std::vector<Run> runs;  // at least one

    Spread tokens_per_second() const;
    Spread first_token_seconds() const;
    // What the runs read or multiplied per second, and its share of each run's own ceiling.
    Spread gigabytes_per_second() const;
    Spread share_of_read() const;
    Spread giga_multiply_adds_per_second() const;
    Spread share_of_int8() const;
    // Whether the bytes of the work are known; those of a prompt are not.
    bool reads_are_known() const { return cost.weight_bytes > 0; }
};

struct MeasurementTools {
    MeasureCeilings ceilings;
    Clock clock;
    int runs = 5;
    // Called around every run, including the first, for a program that sets the pace. They may be empty.
    std::function<Result<void>()> before_run;
    std::function<void(const Work& work, const Run& run)> after_run;
};
Result<Measurement> measure(const Work& work, Subject& subject, const MeasurementTools& tools);
// Runs the work once and gives tokens per second.
Result<double> speed_of_one_run(const Work& work, Subject& subject, const Clock& clock);

}  // namespace invar
