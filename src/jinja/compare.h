// Truth, equality, order, hashing and membership of values, as Python defines them. Arithmetic is in operators.h.
#pragma once

#include "jinja/tree.h"
#include "jinja/value.h"

namespace invar::jinja {

bool is_true(const Value& value);

uint64_t hash_text(std::string_view text);
Result<uint64_t> hash_of(Runtime& runtime, const Value& value);  // fails for lists, dicts and what holds them

Result<bool> equal(Runtime& runtime, const Value& left, const Value& right);

// `operation`: kLess, kLessEqual, kGreater or kGreaterEqual. Fails for values that have no order.
Result<bool> ordered(Runtime& runtime, Operation operation, const Value& left, const Value& right);

Result<bool> contains(Runtime& runtime, const Value& container, const Value& item);

// Fails with what is wrong about an undefined value.
tl::unexpected<Error> fail_undefined(const Value& value);

// Sorts by `key`; stable; `reverse` keeps the order of equal items, as Python's sorted() does.
struct Keyed {
    Value key, value;
};
Result<void> sort_by_key(Runtime& runtime, std::vector<Keyed>& items, bool reverse);

}  // namespace invar::jinja
