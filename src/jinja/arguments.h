// How a built-in takes its arguments: by position or by name, with the parameters that Python's version has.
#pragma once

#include <array>

#include "jinja/runtime.h"

namespace invar::jinja {

// The arguments of a call, one per parameter of a list, e.g. bind("default", arguments, {"value", "default_value",
// "boolean"}).
class Bound {
  public:
    bool has(size_t i) const { return !values_[i].is(Kind::kMissing); }
    const Value& operator[](size_t i) const { return values_[i]; }

    // Fails if the value given is of another type; gives `otherwise` if there is none.
    Result<int64_t> integer(size_t i, int64_t otherwise) const;
    Result<std::string_view> text(size_t i, std::string_view otherwise) const;
    bool is_true(size_t i, bool otherwise) const;
    bool is_none(size_t i) const { return !has(i) || values_[i].is(Kind::kNone); }

  private:
    friend Result<Bound> bind(std::string_view, Arguments&, std::initializer_list<std::string_view>, size_t);
    std::string name_;
    std::array<Value, 6> values_;
};

// The first `required` parameters must be given. A parameter whose name is empty can be given by position only.
Result<Bound> bind(std::string_view function, Arguments& arguments, std::initializer_list<std::string_view> parameters,
                   size_t required = 1);

}  // namespace invar::jinja
