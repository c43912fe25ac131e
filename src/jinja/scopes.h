// Decides which variable each name means, once and before rendering, by the rules of jinja2. A name is bound per frame
// (loop body, macro, block). A frame that sets a variable works on a copy of the outer one. A name that nothing sets is
// read from the context when its frame is entered.
#pragma once

#include "jinja/tree.h"

namespace invar::jinja {

// Fills in the slots and frames of the program, and its free variables. Errors name the line.
Result<void> resolve_scopes(Program& program);

}  // namespace invar::jinja
