// invar bench --compare: two kernels, instruction sets, numbers of threads or builds in alternation.
#pragma once

#include <string>
#include <vector>

#include "app/bench_report.h"

namespace invar::app {

// "kernel=avx512_direct", "isa=avx2", "threads=1", "build=/path/to/invar".
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

// In this process, over the weights of one engine. The engine was opened with `settings`, which side a has.
Result<CompareReport> compare_in_process(Engine& engine, const EngineSettings& settings, const CompareRequest& request);

// This program and another, each loading the model anew in every turn. `arguments`: of `bench`, without --compare,
// --json and --runs.
Result<CompareReport> compare_builds(const std::vector<std::string>& arguments, const CompareRequest& request);

// Speeds of `works` in what `bench --json` printed, in their order. Errors: no JSON, or a work is missing.
Result<std::vector<double>> speeds_in(const std::string& output, const std::vector<Work>& works);

}  // namespace invar::app
