// Filters that read a whole sequence at once: sorting, grouping, joining, aggregates.
#include <algorithm>

#include "jinja/arguments.h"
#include "jinja/attributes.h"
#include "jinja/builtins.h"
#include "jinja/characters.h"
#include "jinja/compare.h"
#include "jinja/filter_keys.h"
#include "jinja/iterate.h"
#include "jinja/operators.h"
#include "jinja/text.h"

namespace invar::jinja {

Result<Value> filter_key(Runtime& runtime, const Value& item, const FilterKey& key) {
    TRY_ASSIGN(Value found, get_path(runtime, item, key.attribute));
    if (!key.otherwise.is(Kind::kMissing) && !key.otherwise.is(Kind::kNone) && found.is(Kind::kUndefined))
        found = key.otherwise;
    if (!key.ignore_case || !found.is(Kind::kString)) return found;
    TRY(runtime.reserve(static_cast<int64_t>(found.text().size())));
    return runtime.string(lower(found.text()));
}

namespace {

Result<Value> length(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("length", arguments, {""}));
    TRY_ASSIGN(const int64_t count, length_of(runtime, bound[0]));
    return Value::integer(count);
}

Result<Value> list(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("list", arguments, {"value"}));
    TRY_ASSIGN(std::vector<Value> items, to_vector(runtime, bound[0]));
    return runtime.list(std::move(items));
}

Result<Value> first(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("first", arguments, {"seq"}));
    TRY_ASSIGN(const std::unique_ptr<Iterator> iterator, iterate(runtime, bound[0]));
    Value item;
    TRY_ASSIGN(const bool any, iterator->next(runtime, item));
    return any ? item : runtime.undefined("the filter 'first' was given an empty sequence");
}

bool is_reversible(const Value& value) {
    return is_iterable(value) && !value.is(Kind::kGenerator) && !value.is(Kind::kLoop);
}

Result<Value> last(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("last", arguments, {"seq"}));
    if (!is_reversible(bound[0]))
        return fail("the filter 'last' cannot take a {}; make it a list first", type_name(bound[0]));
    TRY_ASSIGN(std::vector<Value> items, to_vector(runtime, bound[0]));
    return items.empty() ? runtime.undefined("the filter 'last' was given an empty sequence") : items.back();
}

Result<Value> reverse(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("reverse", arguments, {"value"}));
    if (bound[0].is(Kind::kString)) return get_slice(runtime, bound[0], Value(), Value(), Value::integer(-1));
    TRY_ASSIGN(std::vector<Value> items, to_vector(runtime, bound[0]));
    std::reverse(items.begin(), items.end());
    if (!is_reversible(bound[0])) return runtime.list(std::move(items));
    TRY_ASSIGN(const Value reversed, runtime.list(std::move(items)));
    TRY_ASSIGN(std::unique_ptr<Iterator> iterator, iterate(runtime, reversed));
    return runtime.generator(std::move(iterator));
}

Result<Value> join_filter(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("join", arguments, {"value", "d", "attribute"}));
    TRY_ASSIGN(const std::unique_ptr<Iterator> iterator, iterate(runtime, bound[0]));
    std::string separator;
    if (bound.has(1)) {
        TRY_ASSIGN(separator, to_text(runtime, bound[1]));
    }
    Text out(runtime);
    Value item;
    for (bool is_first = true;; is_first = false) {
        TRY_ASSIGN(const bool more, iterator->next(runtime, item));
        if (!more) return runtime.string(out.take());
        if (!is_first) TRY(out.append(separator));
        if (!bound.is_none(2)) {
            TRY_ASSIGN(item, get_path(runtime, item, bound[2]));
        }
        TRY(append_text(out, runtime, item));
    }
}

// A list with one key per attribute between commas. Lists compare item by item.
Result<Value> sort_key(Runtime& runtime, const Value& item, const Value& attributes, bool ignore_case) {
    std::vector<Value> keys;
    if (!attributes.is(Kind::kString)) {
        TRY_ASSIGN(Value key, filter_key(runtime, item, {attributes, Value(), ignore_case}));
        keys.push_back(std::move(key));
        return runtime.list(std::move(keys));
    }
    std::string_view rest = attributes.text();
    while (true) {
        const size_t comma = rest.find(',');
        TRY_ASSIGN(const Value attribute, runtime.string(std::string(rest.substr(0, comma))));
        TRY_ASSIGN(Value key, filter_key(runtime, item, {attribute, Value(), ignore_case}));
        keys.push_back(std::move(key));
        if (comma == std::string_view::npos) return runtime.list(std::move(keys));
        rest.remove_prefix(comma + 1);
    }
}

Result<Value> values_of(Runtime& runtime, std::vector<Keyed> items) {
    std::vector<Value> values;
    values.reserve(items.size());
    for (Keyed& item : items) values.push_back(std::move(item.value));
    return runtime.list(std::move(values));
}

Result<Value> sort(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("sort", arguments, {"value", "reverse", "case_sensitive", "attribute"}));
    TRY_ASSIGN(const std::vector<Value> values, to_vector(runtime, bound[0]));
    std::vector<Keyed> items;
    for (const Value& value : values) {
        TRY_ASSIGN(Value key, sort_key(runtime, value, bound[3], !bound.is_true(2, false)));
        items.push_back({std::move(key), value});
    }
    TRY(sort_by_key(runtime, items, bound.is_true(1, false)));
    return values_of(runtime, std::move(items));
}

Result<Value> dict_sort(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("dictsort", arguments, {"value", "case_sensitive", "by", "reverse"}));
    TRY_ASSIGN(const std::string_view by, bound.text(2, "key"));
    if (by != "key" && by != "value") return fail("dictsort() sorts by 'key' or 'value', not '{}'", by);
    if (bound[0].is(Kind::kUndefined)) return fail_undefined(bound[0]);
    if (!bound[0].is(Kind::kDict)) return fail("dictsort() needs a dict, not a {}", type_name(bound[0]));
    std::vector<Keyed> items;
    for (const Dict::Entry& entry : bound[0].as<Dict>().entries) {
        TRY_ASSIGN(Value key, filter_key(runtime, by == "key" ? entry.key : entry.value,
                                         {Value(), Value(), !bound.is_true(1, false)}));
        TRY_ASSIGN(Value pair, runtime.tuple({entry.key, entry.value}));
        items.push_back({std::move(key), std::move(pair)});
    }
    TRY(sort_by_key(runtime, items, bound.is_true(3, false)));
    return values_of(runtime, std::move(items));
}

Result<Value> sum(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("sum", arguments, {"iterable", "attribute", "start"}));
    TRY_ASSIGN(const std::vector<Value> items, to_vector(runtime, bound[0]));
    Value total = bound.has(2) ? bound[2] : Value::integer(0);
    if (total.is(Kind::kString)) return fail("the filter 'sum' does not add strings; use 'join'");
    for (const Value& item : items) {
        TRY_ASSIGN(const Value value, get_path(runtime, item, bound[1]));
        TRY_ASSIGN(total, operate(runtime, Operation::kAdd, total, value));
    }
    return total;
}

template <bool wants_largest>
Result<Value> extreme(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound,
               bind(wants_largest ? "max" : "min", arguments, {"value", "case_sensitive", "attribute"}));
    TRY_ASSIGN(const std::vector<Value> items, to_vector(runtime, bound[0]));
    if (items.empty()) return runtime.undefined("the sequence to take the smallest or largest of is empty");
    Value best = items[0], best_key;
    for (const Value& item : items) {
        TRY_ASSIGN(Value key, filter_key(runtime, item, {bound[2], Value(), !bound.is_true(1, false)}));
        if (best_key.is(Kind::kMissing)) {
            best_key = std::move(key);
            continue;
        }
        const Operation operation = wants_largest ? Operation::kGreater : Operation::kLess;
        TRY_ASSIGN(const bool is_better, ordered(runtime, operation, key, best_key));
        if (is_better) best = item, best_key = std::move(key);
    }
    return best;
}

Result<Value> group(Runtime& runtime, const FilterKey& key, std::vector<Value> items) {
    TRY_ASSIGN(Value grouper, filter_key(runtime, items[0], {key.attribute, key.otherwise, false}));
    TRY_ASSIGN(Value members, runtime.list(std::move(items)));
    TRY_ASSIGN(Value pair, runtime.tuple({std::move(grouper), std::move(members)}));
    pair.as<Sequence>().group = true;
    return pair;
}

Result<Value> group_by(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("groupby", arguments, {"value", "attribute", "default", "case_sensitive"}, 2));
    const FilterKey key{bound[1], bound[2], !bound.is_true(3, false)};
    TRY_ASSIGN(const std::vector<Value> values, to_vector(runtime, bound[0]));
    std::vector<Keyed> items;
    for (const Value& value : values) {
        TRY_ASSIGN(Value sorted_by, filter_key(runtime, value, key));
        items.push_back({std::move(sorted_by), value});
    }
    TRY(sort_by_key(runtime, items, false));
    std::vector<Value> groups, members;
    for (size_t i = 0; i < items.size(); ++i) {
        if (i > 0) {
            TRY_ASSIGN(const bool same, equal(runtime, items[i - 1].key, items[i].key));
            if (!same) {
                TRY_ASSIGN(Value finished, group(runtime, key, std::move(members)));
                groups.push_back(std::move(finished));
                members.clear();
            }
        }
        members.push_back(items[i].value);
    }
    if (!members.empty()) {
        TRY_ASSIGN(Value finished, group(runtime, key, std::move(members)));
        groups.push_back(std::move(finished));
    }
    return runtime.list(std::move(groups));
}

Result<Value> attribute(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("attr", arguments, {"obj", "name"}, 2));
    TRY_ASSIGN(const std::string_view name, bound.text(1, ""));
    return get_plain_attribute(runtime, bound[0], std::string(name));
}

Result<Value> xml_attributes(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("xmlattr", arguments, {"d", "autospace"}));
    if (!bound[0].is(Kind::kDict)) return fail("xmlattr() needs a dict, not a {}", type_name(bound[0]));
    Text out(runtime);
    for (const Dict::Entry& entry : bound[0].as<Dict>().entries) {
        if (entry.value.is(Kind::kNone) || entry.value.is(Kind::kUndefined)) continue;
        if (!entry.key.is(Kind::kString)) return fail("xmlattr() needs str keys, not a {}", type_name(entry.key));
        if (entry.key.text().find_first_of(" \t\n\r\f\v/>=") != std::string_view::npos)
            return fail("xmlattr() got the invalid attribute name {}", quoted_text(entry.key.text()));
        if (!out.view().empty() || bound.is_true(1, true)) TRY(out.append(" "));
        TRY_ASSIGN(const Value key, to_markup(runtime, entry.key));
        TRY_ASSIGN(const Value value, to_markup(runtime, entry.value));
        TRY(out.append(key.text()));
        TRY(out.append("=\""));
        TRY(out.append(value.text()));
        TRY(out.append("\""));
    }
    return runtime.string(out.take());
}

constexpr Builtin kSequenceFilters[] = {
    {"length", length},      {"count", length},      {"list", list},
    {"first", first},        {"last", last},         {"reverse", reverse},
    {"join", join_filter},   {"sort", sort},         {"sum", sum},
    {"min", extreme<false>}, {"max", extreme<true>}, {"groupby", group_by},
    {"dictsort", dict_sort}, {"attr", attribute},    {"xmlattr", xml_attributes},
};

}  // namespace

std::span<const Builtin> sequence_filters() { return kSequenceFilters; }

}  // namespace invar::jinja
