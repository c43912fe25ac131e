#include "bench/measurement.h"

namespace invar {
namespace {

template <class Value>
Spread spread_over(const std::vector<Run>& runs, Value value) {
    std::vector<double> values;
    for (const Run& run : runs) values.push_back(value(run));
    return spread_of(std::move(values));
}

double giga(int64_t count) { return static_cast<double>(count) / 1e9; }

double bytes_of(const WorkCost& cost) { return giga(cost.weight_bytes + cost.cache_bytes); }

Result<Run> timed_run(const Work& work, Subject& subject, const Clock& clock) {
    TRY(subject.prepare(work));
    Run run;
    const double start = clock();
    TRY(subject.run(work));
    run.seconds = clock() - start;
    if (work.kind == WorkKind::prompt) {
        TRY(subject.choose_token());
        run.first_token_seconds = clock() - start;
    }
    return run;
}

}  // namespace

Spread Measurement::tokens_per_second() const {
    return spread_over(runs, [&](const Run& run) { return static_cast<double>(work.computed()) / run.seconds; });
}

Spread Measurement::first_token_seconds() const {
    return spread_over(runs, [](const Run& run) { return run.first_token_seconds; });
}

Spread Measurement::gigabytes_per_second() const {
    return spread_over(runs, [&](const Run& run) { return bytes_of(cost) / run.seconds; });
}

Spread Measurement::share_of_read() const {
    return spread_over(runs,
                       [&](const Run& run) { return bytes_of(cost) / run.seconds / run.ceilings.memory_gigabytes(); });
}

Spread Measurement::giga_multiply_adds_per_second() const {
    return spread_over(runs, [&](const Run& run) { return giga(cost.weight_multiply_adds) / run.seconds; });
}

Spread Measurement::share_of_int8() const {
    return spread_over(runs, [&](const Run& run) {
        return giga(cost.weight_multiply_adds) / run.seconds / run.ceilings.int8_multiply_adds;
    });
}

Result<Measurement> measure(const Work& work, Subject& subject, const MeasurementTools& tools) {
    Measurement result;
    result.work = work;
    Ceilings before;
    for (int i = 0; i <= tools.runs; ++i) {
        if (tools.before_run) TRY(tools.before_run());
        TRY_ASSIGN(Run run, timed_run(work, subject, tools.clock));
        if (i == 0) {
            TRY_ASSIGN(result.cost, subject.cost(work));
        }
        TRY_ASSIGN(const Ceilings after, tools.ceilings());
        if (i == 0) before = after;
        run.ceilings = {.read_gigabytes = (before.read_gigabytes + after.read_gigabytes) / 2,
                        .int8_multiply_adds = (before.int8_multiply_adds + after.int8_multiply_adds) / 2,
                        .copy_gigabytes = (before.copy_gigabytes + after.copy_gigabytes) / 2};
        before = after;
        if (tools.after_run) tools.after_run(work, run);
        if (i == 0) {
            result.first = run;
        } else {
            result.runs.push_back(run);
        }
    }
    return result;
}

Result<double> speed_of_one_run(const Work& work, Subject& subject, const Clock& clock) {
    TRY_ASSIGN(const Run run, timed_run(work, subject, clock));
    return static_cast<double>(work.computed()) / run.seconds;
}

}  // namespace invar
