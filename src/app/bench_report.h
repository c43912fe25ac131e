// How what `invar bench` measured is shown: a table, or JSON with every run. It measures nothing (src/bench).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "app/bench_device.h"
#include "base/json_fwd.h"
#include "bench/alternation.h"
#include "bench/measurement.h"
#include "engine/engine.h"

namespace invar::app {

struct LoadTimes {
    double plan_seconds = 0;     // the file opened, its header read, the plan made
    double weights_seconds = 0;  // until the first token could be computed
};

struct BenchReport {
    LoadTimes load;
    std::string_view int8_instruction;
    std::vector<Measurement> measurements;
    std::optional<DeviceReport> device;  // whose ceilings are stated; nothing: the CPU's

    bool shares_are_known() const { return !device || device->does_everything; }
};

std::string bench_as_table(const Engine& engine, const BenchReport& report);
Json bench_as_json(const Engine& engine, const BenchReport& report);

struct CompareReport {
    std::string first, second;  // what the sides are called
    std::vector<Work> works;
    std::vector<PairedSpeeds> speeds;
};

std::string comparison_as_table(const CompareReport& report);
Json comparison_as_json(const CompareReport& report);

// One line for each number of tokens in a pass: "1 token: linear q4_k q6_k by avx512_direct; ...".
std::string kernels_as_text(std::span<const KernelUse> uses);
Json kernels_as_json(std::span<const KernelUse> uses);

}  // namespace invar::app
