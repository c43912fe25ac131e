// Finds every built-in by name: filters, tests, global functions and methods. Each table is in the file that implements
// its functions.
#pragma once

#include <span>

#include "jinja/value.h"

namespace invar::jinja {

const Builtin* find_filter(std::string_view name);
const Builtin* find_test(std::string_view name);
const Builtin* find_function(std::string_view name);

// Filters of jinja2 that are refused: they need randomness, a clock, or HTML machinery that no prompt needs.
bool is_refused_filter(std::string_view name);

// nullptr if the type has no such method. Methods that would change a list or dict are found as `mutating`.
const Builtin* find_string_method(std::string_view name);
const Builtin* find_dict_method(std::string_view name);
const Builtin* find_sequence_method(std::string_view name, bool is_tuple);
const Builtin* find_number_method(std::string_view name, bool is_float);
const Builtin* find_loop_method(std::string_view name);
const Builtin* find_cycler_method(std::string_view name);
bool is_mutating_method(Kind kind, std::string_view name);

// The tables, each in its own file.
std::span<const Builtin> text_filters();
std::span<const Builtin> number_filters();
std::span<const Builtin> sequence_filters();
std::span<const Builtin> lazy_filters();
std::span<const Builtin> string_methods();
std::span<const Builtin> string_split_methods();
std::span<const Builtin> string_predicates();

const Builtin* find_in(std::span<const Builtin> table, std::string_view name);

}  // namespace invar::jinja
