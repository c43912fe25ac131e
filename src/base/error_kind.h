// One table of what a command does with each kind of error: the kind's name and the exit code. The kinds themselves are
// listed in result.h.
#pragma once

#include <string_view>

#include "base/result.h"

namespace invar {

struct ErrorKindFacts {
    std::string_view name;  // "out_of_memory": stable, for JSON and logs
    // 2: another call can succeed; 3: resources were lacking; 4: the numbers failed; 5: the device failed; 70: our bug.
    int exit_code;
};

const ErrorKindFacts& facts_of(ErrorKind kind);

}  // namespace invar
