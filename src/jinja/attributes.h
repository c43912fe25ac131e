// value.name, value[key] and value[a:b:c], as jinja2's sandbox resolves them: methods first for a dot, items first for
// brackets. No attribute of any object of this program exists here; names with a leading underscore lead nowhere.
#pragma once

#include "jinja/value.h"

namespace invar::jinja {

Result<Value> get_attribute(Runtime& runtime, const Value& value, const std::string& name);
// The attribute alone, as the filter `attr` looks it up: an item of that name does not count.
Result<Value> get_plain_attribute(Runtime& runtime, const Value& value, const std::string& name);
Result<Value> get_item(Runtime& runtime, const Value& value, const Value& key);
// Absent bounds are kMissing.
Result<Value> get_slice(Runtime& runtime, const Value& value, const Value& start, const Value& stop, const Value& step);

// Follows "a.b.0", as the argument `attribute` of filters names things; integers and other values are one step.
Result<Value> get_path(Runtime& runtime, Value value, const Value& path);

}  // namespace invar::jinja
