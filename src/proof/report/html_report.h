// Renders a verification as one page to look at: verdict, paths, the first difference, distance to float64, plan. The
// page needs no network, no font and no script (a small script adds tooltips and a switch). The same report gives the
// same bytes. Everything that came from a file is escaped (html_text.h).
#pragma once

#include <string>

#include "proof/verify/verify.h"

namespace invar {

std::string verify_as_html(const VerifyReport& report);

}  // namespace invar
