// Which variable a name means: decided once, before rendering, by jinja2's own rules. A name is bound per frame (loop
// body, macro, block); a frame that sets a variable works on a copy of the outer one; a name that nothing sets is read
// from the context when its frame is entered.
#pragma once

#include "jinja/tree.h"

namespace invar::jinja {

// Fills in the slots and frames of the program, and its free variables. Errors name the line.
Result<void> resolve_scopes(Program& program);

}  // namespace invar::jinja
