// Runs another program and takes its output. `bench --compare build=...` uses it.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace invar::app {

// The path of the running program. Errors: the system does not say.
Result<std::string> own_program();

// The standard output of `program arguments...`; its standard error goes where ours goes. Errors: the program cannot be
// started, or its exit code is not 0.
Result<std::string> output_of(const std::string& program, const std::vector<std::string>& arguments);

}  // namespace invar::app
