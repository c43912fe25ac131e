// The part of the page about the distance to float64 (verify_accuracy.h): heat map, curves over layers, divergence of
// the next token, routing, the worst stages. Each function makes one section, or "" if the report has nothing for it.
#pragma once

#include <string>

#include "proof/verify/verify.h"

namespace invar {

std::string heat_map_section(const VerifyReport& report);
std::string curves_section(const VerifyReport& report);
std::string next_token_section(const VerifyReport& report);
std::string routing_section(const VerifyReport& report);
std::string worst_stages_section(const VerifyReport& report);

}  // namespace invar
