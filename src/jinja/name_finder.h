// Questions about the names in a piece of a template, which decide whether a loop needs `loop` and a macro `caller`.
#pragma once

#include <set>

#include "jinja/tree.h"

namespace invar::jinja {

using Names = std::set<std::string, std::less<>>;

// Which of `wanted` the body reads before anything in it sets them. Inner loops and macros count.
Names names_read(const Body& body, Names wanted);

bool sets_name(const Expression& target, std::string_view name);

// Whether a for statement, or anything inside of it, sets a variable called `loop`.
bool sets_loop_variable(const Statement& statement);

}  // namespace invar::jinja
