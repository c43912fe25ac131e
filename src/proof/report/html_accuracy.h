// The part of the page that says how far the model is from float64 (verify_accuracy.h): heat map, curves over layers,
// next-token divergence, routing, the worst stages. Each function is one section, "" where the report has nothing for
// it.
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
