// Iteration over any value, and its length. Every item pulled counts as a step.
#pragma once

#include "jinja/value.h"

namespace invar::jinja {

// Fails for values that cannot be iterated; an undefined value has no items. The iterator keeps the value alive.
Result<std::unique_ptr<Iterator>> iterate(Runtime& runtime, const Value& value);

Result<std::vector<Value>> to_vector(Runtime& runtime, const Value& value);

// len() of Python: fails for numbers, none, generators and other values without a length.
Result<int64_t> length_of(Runtime& runtime, const Value& value);
int64_t string_length(const Value& string);  // code points

bool is_iterable(const Value& value);

// An iterator over items that are already there.
std::unique_ptr<Iterator> iterate_items(std::vector<Value> items);

// The variable `loop` of a for loop. It looks one item ahead when asked for loop.last or loop.nextitem. If the iterable
// has no length, it reads everything when asked for one.
struct Loop : Object {
    Loop(Heap& heap, Value source, std::unique_ptr<Iterator> items, int64_t nesting)
        : Object(heap, Kind::kLoop), iterable(std::move(source)), iterator(std::move(items)), depth0(nesting) {}
    Result<bool> advance(Runtime& runtime);  // moves to the next item; false at the end
    Result<bool> peek(Runtime& runtime);     // whether there is a next item, which is then in `after`
    Result<int64_t> length(Runtime& runtime);

    Value iterable;
    std::unique_ptr<Iterator> iterator;
    Value before, current, after;  // kMissing if there is none
    Value last_changed;            // the last argument of loop.changed()
    int64_t index0 = -1;
    int64_t depth0;
    int64_t known_length = -1;
    const Statement* recursive = nullptr;  // the loop statement, if it was marked recursive
    Value enclosing;                       // the Activation of that statement
};

}  // namespace invar::jinja
