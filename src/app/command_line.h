// Reads the program's arguments and runs the command they name with the settings they give. Only this file uses the
// command line library, which takes seconds to compile.
#pragma once

#include <string>
#include <vector>

#include "app/command.h"

namespace invar::app {

struct Program {
    std::string name, summary, version, footer;
    std::vector<Command> commands;
};

// Prints errors as one sentence on stderr, and --help and --version on stdout. Gives the exit code.
int run_command_line(const Program& program, int argc, const char* const* argv);

}  // namespace invar::app
