// Prints what `invar bench` measured, as a table or as JSON with every run. src/bench measures.
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
    double plan_seconds = 0;     // opening the file, reading its header and making the plan
    double weights_seconds = 0;  // from the plan until the first token can be computed
};

struct BenchReport {
    LoadTimes load;
    std::string_view int8_instruction;
    std::vector<Measurement> measurements;
    std::optional<DeviceReport> device;  // the device whose ceilings are stated; nothing: they are the CPU's

    bool shares_are_known() const { return !device || device->does_everything; }
};

std::string bench_as_table(const Engine& engine, const BenchReport& report);
Json bench_as_json(const Engine& engine, const BenchReport& report);

struct CompareReport {
    std::string first, second;  // the names of the two sides
    std::vector<Work> works;
    std::vector<PairedSpeeds> speeds;
};

std::string comparison_as_table(const CompareReport& report);
Json comparison_as_json(const CompareReport& report);

// One line per number of tokens in a pass: "1 token: linear q4_k q6_k by avx512_direct; ...".
std::string kernels_as_text(std::span<const KernelUse> uses);
Json kernels_as_json(std::span<const KernelUse> uses);

}  // namespace invar::app
