// What the trace commands share: their makers, injected faults, and the description of a recording.
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

// The fault of --inject; nullptr for "".
Result<std::unique_ptr<FaultHook>> injected_fault(const std::string& given, const Engine& engine);
// Says on stderr that there was one, and fails where it changed nothing.
Result<void> report_fault(const FaultHook* fault, const std::string& given);

// XXH3-128 of all bytes of the file, of a split one in the order of its parts.
std::string hash_of_model(const Checkpoint& file);

// One line: what made it.
std::string description_of(const Recording& recording);

}  // namespace invar::app
