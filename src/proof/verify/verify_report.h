// Prints a verification as text and as JSON. html_report.h makes the page.
#pragma once

#include <string>

#include "proof/verify/verify.h"

namespace invar {

// One line per path, or one per schedule of each path.
std::string verify_as_text(const VerifyReport& report, bool each_schedule);
Json verify_as_json(const VerifyReport& report);
// Three lines: the stage, both values, and which side float64 supports.
std::string difference_as_text(const StageDifference& difference);

std::string thousands(int64_t number);  // "1,209,472"

}  // namespace invar
