// How filters such as sort, unique and groupby look at an item: through an attribute, perhaps ignoring case.
#pragma once

#include "jinja/value.h"

namespace invar::jinja {

struct FilterKey {
    Value attribute;  // "a.b", an index, or none
    Value otherwise;  // for items without the attribute; kMissing or none: they stay undefined
    bool ignore_case;
};

Result<Value> filter_key(Runtime& runtime, const Value& item, const FilterKey& key);

}  // namespace invar::jinja
