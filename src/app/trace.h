// What the trace commands share: their registration, ranges on the command line, and the description of a recording.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "app/cli.h"
#include "engine/engine.h"
#include "files/checkpoint.h"
#include "proof/faults/faults.h"
#include "proof/record/recording.h"

namespace invar::app {

void add_trace_record(CLI::App& trace, Action& action);
void add_trace_show(CLI::App& trace, Action& action);
void add_trace_diff(CLI::App& trace, Action& action);
void add_trace_replay(CLI::App& trace, Action& action);

// "3", "0-5", "0-2,7" as first and last; "" is none. `flag` is shown in errors.
Result<std::vector<std::pair<int64_t, int64_t>>> parse_ranges(const std::string& text, std::string_view flag);

// The fault of --inject; nullptr for "".
Result<std::unique_ptr<FaultHook>> injected_fault(const std::string& given, const Engine& engine);
// Says on stderr that there was one, and fails where it changed nothing.
Result<void> report_fault(const FaultHook* fault, const std::string& given);


// One line: what made it.
std::string description_of(const Recording& recording);

}  // namespace invar::app
