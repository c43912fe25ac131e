// The texts that a command reads whole: a file that an option names, or standard input. It decides which kinds of file
// are taken; it does not interpret a byte.
#pragma once

#include <string>

#include "base/result.h"

namespace invar::app {

// A regular file, or a pipe up to its end. Errors name the path: missing, not permitted, a directory or another thing
// that is not a file, empty, the disk fails.
Result<std::string> read_text_file(const std::string& path);

// Everything up to the end. Errors: it is a directory or cannot be read.
Result<std::string> read_standard_input();

}  // namespace invar::app
