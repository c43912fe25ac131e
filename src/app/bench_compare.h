// invar bench --compare: measures two kernels, instruction sets, numbers of threads or builds in alternation.
#pragma once

#include <string>
#include <vector>

#include "app/bench_report.h"

namespace invar::app {

double seconds_now();  // of a clock that only moves forward

// The other side, as given: "kernel=avx512_direct", "isa=avx2", "threads=1", "build=/path/to/invar".
struct ComparedWith {
    enum class What : uint8_t { kernel, isa, threads, build };
    What what = What::kernel;
    std::string value;
};
Result<ComparedWith> parse_compared_with(const std::string& text);

struct CompareRequest {
    ComparedWith with;
    std::vector<Work> works;
    int pairs = 5;
};

// Compares in this process, over the weights of one engine. Side a has the `settings` that the engine was opened with.
Result<CompareReport> compare_in_process(Engine& engine, const EngineSettings& settings, const CompareRequest& request);

// Compares this program with another; each loads the model anew in every turn. `arguments` are those of `bench`,
// without --compare, --json and --runs.
Result<CompareReport> compare_builds(const std::vector<std::string>& arguments, const CompareRequest& request);

// Reads the speeds of `works`, in their order, from the output of `bench --json`. Errors: no JSON, or a work is
// missing.
Result<std::vector<double>> speeds_in(const std::string& output, const std::vector<Work>& works);

}  // namespace invar::app
