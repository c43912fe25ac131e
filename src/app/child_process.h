// Runs another program and takes what it prints. Used by `bench --compare build=...`.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace invar::app {

// The path of the running program. Errors: the system does not say.
Result<std::string> own_program();

// Standard output of `program arguments...`; its standard error goes where ours goes. Errors: it cannot be started, or
// it ends with another code than 0.
Result<std::string> output_of(const std::string& program, const std::vector<std::string>& arguments);

}  // namespace invar::app
