// How something is measured: a first run that is kept apart, then several counted ones, and the machine's ceilings
// taken on both sides of every one, because a shared host changes its speed within seconds. What runs, what the
// ceilings are and what time it is come from outside (Subject, Ceilings, Clock): engine_subject.h and
// machine_ceilings.h in the program, invented ones in tests. Two subjects in alternation: alternation.h.
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
    virtual Result<void> choose_token() = 0;              // the most likely one after the last row computed
    virtual Result<WorkCost> cost(const Work& work) = 0;  // may compute the work to count it
};

struct Ceilings {
    double read_gigabytes = 0;      // 1e9 bytes a second
    double int8_multiply_adds = 0;  // 1e9 a second
    double copy_gigabytes = 0;      // of a device: read plus written; 0: not measured

    // What memory can do: some devices read faster than they copy, some the other way round.
    double memory_gigabytes() const { return std::max(read_gigabytes, copy_gigabytes); }
};
using MeasureCeilings = std::function<Result<Ceilings>()>;
using Clock = std::function<double()>;  // seconds since some moment

struct Run {
    double seconds = 0;
    double first_token_seconds = 0;  // of a prompt: until the first token of the answer is chosen
    Ceilings ceilings;               // the mean of before and after
};

struct Measurement {
    Work work;
    WorkCost cost;
    Run first;              // the first run of this work, which warms up; counted nowhere else
    std::vector<Run> runs;  // at least one

    Spread tokens_per_second() const;
    Spread first_token_seconds() const;
    // Of what was read or multiplied in a run a second, and its share of that run's ceiling.
    Spread gigabytes_per_second() const;
    Spread share_of_read() const;
    Spread giga_multiply_adds_per_second() const;
    Spread share_of_int8() const;
    // Whether the bytes of the work are stated: not those of a prompt.
    bool reads_are_known() const { return cost.weight_bytes > 0; }
};

struct MeasurementTools {
    MeasureCeilings ceilings;
    Clock clock;
    int runs = 5;
    // Around every run, the first included, where another program sets the pace; may be empty.
    std::function<Result<void>()> before_run;
    std::function<void(const Work& work, const Run& run)> after_run;
};
Result<Measurement> measure(const Work& work, Subject& subject, const MeasurementTools& tools);
// The same run once more: tokens a second.
Result<double> speed_of_one_run(const Work& work, Subject& subject, const Clock& clock);

}  // namespace invar
