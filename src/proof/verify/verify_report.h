// A verification as text for a terminal and as JSON; the page is html_report.h. It decides wording only.
#pragma once

#include <string>

#include "proof/verify/verify.h"

namespace invar {

// A line for each path, or for each schedule of each.
std::string verify_as_text(const VerifyReport& report, bool each_schedule);
Json verify_as_json(const VerifyReport& report);
// Three lines: which stage, both values, whom float64 supports.
std::string difference_as_text(const StageDifference& difference);

std::string thousands(int64_t number);  // "1,209,472"

}  // namespace invar
