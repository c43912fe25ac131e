// The one include of the command line library, and what every command shares with main.cpp.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "base/result.h"

namespace invar::app {

// Exit codes: 0 done; 1 a comparison or an answer failed; 2 the command line or its output is at fault. An Error has
// the exit code of its kind (base/error_kind.h), which is 2 or more.
inline constexpr int kDone = 0, kDifferent = 1, kCouldNotRun = 2;

// What a command does once its options are parsed. The int is the exit code.
using Action = std::function<Result<int>()>;

// Each adds its subcommand to `cli` and sets `action` when it is the one chosen. Defined in NAME_command.cpp.
void add_run_command(CLI::App& cli, Action& action);
void add_plan_command(CLI::App& cli, Action& action);
void add_inspect_command(CLI::App& cli, Action& action);
void add_tokenize_command(CLI::App& cli, Action& action);
void add_logits_command(CLI::App& cli, Action& action);
void add_bench_command(CLI::App& cli, Action& action);
void add_quantize_command(CLI::App& cli, Action& action);
void add_models_command(CLI::App& cli, Action& action);
void add_trace_command(CLI::App& cli, Action& action);
void add_audit_command(CLI::App& cli, Action& action);
void add_eval_command(CLI::App& cli, Action& action);
void add_diff_command(CLI::App& cli, Action& action);
void add_verify_command(CLI::App& cli, Action& action);
void add_synth_command(CLI::App& cli, Action& action);

}  // namespace invar::app
