// The part of the page about equality: the matrix of paths and schedules, and the first difference, if there is one.
#pragma once

#include <string>

#include "proof/verify/verify.h"

namespace invar {

std::string difference_section(const VerifyReport& report);  // "" if every path is equal
std::string paths_section(const VerifyReport& report);

}  // namespace invar
