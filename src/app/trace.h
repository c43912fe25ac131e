// The functions that make the trace commands, and what they share: injected faults and the description of a recording.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "app/command.h"
#include "engine/engine.h"
#include "files/checkpoint.h"
#include "proof/faults/faults.h"
#include "proof/record/recording.h"

namespace invar::app {

Command trace_record_command();
Command trace_show_command();
Command trace_diff_command();
Command trace_replay_command();

// The fault given to --inject; nullptr for "".
Result<std::unique_ptr<FaultHook>> injected_fault(const std::string& given, const Engine& engine);
// Prints on stderr what the fault changed. Error: it changed nothing.
Result<void> report_fault(const FaultHook* fault, const std::string& given);

// One line that says what made the recording.
std::string description_of(const Recording& recording);

}  // namespace invar::app
