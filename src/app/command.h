// A command of the program as a value: its name, its help, its tables of settings and the function that runs it.
// command_line.h turns commands into a command line. NAME_command.cpp defines each command, and program.cpp lists them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "app/setting.h"
#include "base/result.h"

namespace invar::app {

// Exit codes. 0: done. 1: a comparison or an answer failed. 2: the command line is wrong or its output could not be
// written. An Error has the exit code of its kind (base/error_kind.h), which is 2 or more.
inline constexpr int kDone = 0, kDifferent = 1, kCouldNotRun = 2;

// A setting as the user gave it.
struct Argument {
    std::string flag;  // "--threads"; for a positional argument its name
    std::string text;  // "" for a flag that takes none
    bool takes_text = false;
    bool positional() const { return !flag.starts_with('-'); }
};
using Arguments = std::vector<Argument>;

// Fails if two settings were given of which one would be ignored. `because` says what each does, after the names.
Result<void> check_apart(const Arguments& given, std::string_view first, std::string_view second,
                         std::string_view because);
bool was_given(const Arguments& given, std::string_view flag);

struct Command {
    std::string name, summary;
    std::vector<SettingGroup> settings;
    std::string footer;                                // exit codes and examples
    std::function<Result<int>(const Arguments&)> run;  // gives the exit code; called once the settings are read
    std::vector<Command> commands;                     // if not empty, one of them must be chosen and there is no run
};

Command run_command();
Command plan_command();
Command inspect_command();
Command tokenize_command();
Command logits_command();
Command bench_command();
Command quantize_command();
Command verify_command();
Command synth_command();
Command models_command();
Command trace_command();
Command audit_command();
Command eval_command();
Command embed_command();
Command diff_command();

}  // namespace invar::app
