// The error sentences of calls with wrong arguments.
#include "jinja/arguments.h"

#include "jinja/builtins.h"
#include "jinja/compare.h"

namespace invar::jinja {

Result<Bound> bind(std::string_view function, Arguments& arguments, std::initializer_list<std::string_view> parameters,
                   size_t required) {
    Bound bound;
    bound.name_ = function;
    if (arguments.positional.size() > parameters.size())
        return fail("{}() takes at most {} arguments, not {}", function, parameters.size(),
                    arguments.positional.size());
    for (size_t i = 0; i < arguments.positional.size(); ++i) bound.values_[i] = arguments.positional[i];
    for (const auto& [name, value] : arguments.keywords) {
        const auto found = std::find(parameters.begin(), parameters.end(), name);
        if (found == parameters.end()) return fail("{}() has no argument '{}'", function, name);
        Value& place = bound.values_[static_cast<size_t>(found - parameters.begin())];
        if (!place.is(Kind::kMissing)) return fail("{}() is given the argument '{}' twice", function, name);
        place = value;
    }
    for (size_t i = 0; i < required; ++i) {
        if (!bound.has(i)) return fail("{}() needs at least {} arguments", function, required);
    }
    return bound;
}

Result<int64_t> Bound::integer(size_t i, int64_t otherwise) const {
    if (!has(i)) return otherwise;
    if (values_[i].is(Kind::kUndefined)) return fail_undefined(values_[i]);
    if (!values_[i].is_integral()) return fail("{}() needs an integer, not a {}", name_, type_name(values_[i]));
    return values_[i].as_integer();
}

Result<std::string_view> Bound::text(size_t i, std::string_view otherwise) const {
    if (!has(i)) return otherwise;
    if (values_[i].is(Kind::kUndefined)) return fail_undefined(values_[i]);
    if (!values_[i].is(Kind::kString)) return fail("{}() needs a str, not a {}", name_, type_name(values_[i]));
    return values_[i].text();
}

bool Bound::is_true(size_t i, bool otherwise) const { return has(i) ? jinja::is_true(values_[i]) : otherwise; }

const Builtin* find_in(std::span<const Builtin> table, std::string_view name) {
    for (const Builtin& row : table) {
        if (row.name == name) return &row;
    }
    return nullptr;
}

}  // namespace invar::jinja
