// Looks up attributes, items and slices. If there is none, the result is an undefined value that remembers why.
#include "jinja/attributes.h"

#include <algorithm>

#include "jinja/builtins.h"
#include "jinja/characters.h"
#include "jinja/compare.h"
#include "jinja/iterate.h"
#include "jinja/runtime.h"
#include "jinja/text.h"
#include "jinja/tree.h"

namespace invar::jinja {

namespace {

const Builtin* find_method(const Value& value, std::string_view name) {
    switch (value.kind()) {
        case Kind::kString:
            return find_string_method(name);
        case Kind::kDict:
            return find_dict_method(name);
        case Kind::kList:
        case Kind::kTuple:
            return find_sequence_method(name, value.is(Kind::kTuple));
        case Kind::kBool:
        case Kind::kInteger:
        case Kind::kFloat:
            return find_number_method(name, value.is(Kind::kFloat));
        case Kind::kLoop:
            return find_loop_method(name);
        case Kind::kCycler:
            return find_cycler_method(name);
        default:
            return nullptr;
    }
}

// The attributes of a loop that are not methods; kMissing if `name` is none of them.
Result<Value> loop_attribute(Runtime& runtime, Loop& loop, std::string_view name) {
    if (name == "index") return Value::integer(loop.index0 + 1);
    if (name == "index0") return Value::integer(loop.index0);
    if (name == "first") return Value::boolean(loop.index0 == 0);
    if (name == "depth") return Value::integer(loop.depth0 + 1);
    if (name == "depth0") return Value::integer(loop.depth0);
    if (name == "previtem") return loop.index0 == 0 ? runtime.undefined("there is no previous item") : loop.before;
    if (name == "last" || name == "nextitem") {
        TRY_ASSIGN(const bool more, loop.peek(runtime));
        if (name == "last") return Value::boolean(!more);
        return more ? loop.after : runtime.undefined("there is no next item");
    }
    if (name == "length" || name == "revindex" || name == "revindex0") {
        TRY_ASSIGN(const int64_t length, loop.length(runtime));
        return Value::integer(name == "length" ? length : length - loop.index0 - (name == "revindex0" ? 1 : 0));
    }
    return Value();
}

Result<Value> macro_attribute(Runtime& runtime, const Statement& macro, std::string_view name) {
    if (name == "name") return macro.text.empty() ? Value::none() : runtime.string(macro.text);
    if (name == "catch_kwargs") return Value::boolean(macro.keywords_slot >= 0);
    if (name == "catch_varargs") return Value::boolean(macro.positional_slot >= 0);
    if (name == "caller") return Value::boolean(macro.caller_slot >= 0);
    if (name == "arguments") {
        std::vector<Value> names;
        for (const Expression* parameter : macro.parameters) {
            TRY_ASSIGN(Value text, runtime.string(parameter->text));
            names.push_back(std::move(text));
        }
        return runtime.tuple(std::move(names));
    }
    return Value();
}

// The attributes that Python's getattr() finds: methods and a few data attributes. kMissing if there is none.
Result<Value> own_attribute(Runtime& runtime, const Value& value, std::string_view name) {
    if (value.is(Kind::kNamespace)) {
        const Value* found = value.as<Namespace>().attributes.as<Dict>().find(name);
        return found == nullptr ? Value() : *found;
    }
    if (const Builtin* method = find_method(value, name)) return runtime.function(*method, value);
    if (value.is(Kind::kLoop)) return loop_attribute(runtime, value.as<Loop>(), name);
    if (value.is(Kind::kMacro)) return macro_attribute(runtime, value.as<Macro>().statement, name);
    if (value.is(Kind::kTuple) && value.as<Sequence>().group) {
        if (name == "grouper") return value.as<Sequence>().items[0];
        if (name == "list") return value.as<Sequence>().items[1];
    }
    if (value.is(Kind::kRange)) {
        const Range& range = value.as<Range>();
        if (name == "start") return Value::integer(range.start);
        if (name == "stop") return Value::integer(range.stop);
        if (name == "step") return Value::integer(range.step);
    }
    if (value.is(Kind::kCycler)) {
        const Cycler& cycler = value.as<Cycler>();
        if (name == "current") return cycler.items[cycler.position];
        if (name == "items") return runtime.tuple(cycler.items);
        if (name == "pos") return Value::integer(static_cast<int64_t>(cycler.position));
    }
    if (value.is_integral()) {
        if (name == "real" || name == "numerator") return Value::integer(value.as_integer());
        if (name == "imag") return Value::integer(0);
        if (name == "denominator") return Value::integer(1);
    }
    if (value.is(Kind::kFloat) && name == "real") return value;
    if (value.is(Kind::kFloat) && name == "imag") return Value::real(0);
    return Value();
}

// Names that exist on every object of Python and that the sandbox hides.
bool is_private(std::string_view name) {
    return name.size() > 4 && name.substr(0, 2) == "__" && name.substr(name.size() - 2) == "__";
}

Value unsafe(Runtime& runtime, const Value& value, std::string_view name) {
    return runtime.undefined(
        fmt::format("access to attribute '{}' of a {} is not allowed in a template", name, type_name(value)));
}

Value no_attribute(Runtime& runtime, const Value& value, std::string_view name) {
    return runtime.undefined(fmt::format("a {} has no attribute '{}'", type_name(value), name));
}

int64_t clamp_index(int64_t index, int64_t length, int64_t low, int64_t high) {
    if (index < 0) index = index < -length ? low : index + length;
    return std::clamp(index, low, high);
}

struct Bounds {
    int64_t start, stop, step, count;
};

Result<int64_t> slice_bound(const Value& bound, int64_t length, int64_t low, int64_t high, int64_t otherwise) {
    if (bound.is(Kind::kMissing) || bound.is(Kind::kNone)) return otherwise;
    if (bound.is(Kind::kUndefined)) return fail_undefined(bound);
    if (!bound.is_integral()) return fail("a slice needs integers, not a {}", type_name(bound));
    return clamp_index(bound.as_integer(), length, low, high);
}

Result<Bounds> slice_bounds(const Value& start, const Value& stop, const Value& step, int64_t length) {
    int64_t stride = 1;
    if (!step.is(Kind::kMissing) && !step.is(Kind::kNone)) {
        if (!step.is_integral()) return fail("a slice needs integers, not a {}", type_name(step));
        stride = step.as_integer();
        if (stride == 0) return fail("the step of a slice cannot be zero");
    }
    const bool forward = stride > 0;
    const int64_t low = forward ? 0 : -1, high = forward ? length : length - 1;
    TRY_ASSIGN(const int64_t first, slice_bound(start, length, low, high, forward ? low : high));
    TRY_ASSIGN(const int64_t last, slice_bound(stop, length, low, high, forward ? high : low));
    const int64_t span = forward ? last - first : first - last;
    // Unsigned, because the magnitude of the smallest integer is not an integer.
    const uint64_t magnitude = forward ? static_cast<uint64_t>(stride) : 0 - static_cast<uint64_t>(stride);
    const int64_t count = span <= 0 ? 0 : static_cast<int64_t>((static_cast<uint64_t>(span) - 1) / magnitude) + 1;
    return Bounds{first, last, stride, count};
}

Result<Value> slice_string(Runtime& runtime, const Value& value, const Bounds& bounds) {
    const std::string_view text = value.text();
    TRY(runtime.step_bytes(static_cast<int64_t>(text.size())));
    const bool markup = value.is_markup();
    if (bounds.count == 0) return runtime.string("", markup);
    const bool ascii = string_length(value) == static_cast<int64_t>(text.size());
    if (bounds.step == 1) {
        const size_t begin = ascii ? static_cast<size_t>(bounds.start) : offset_of(text, bounds.start);
        const std::string_view rest = text.substr(begin);
        const size_t size = ascii ? static_cast<size_t>(bounds.count) : offset_of(rest, bounds.count);
        return runtime.string(std::string(rest.substr(0, size)), markup);
    }
    std::vector<size_t> begins;  // of every character, and the end
    for (size_t position = 0; position < text.size();) {
        begins.push_back(position);
        decode(text, position);
    }
    begins.push_back(text.size());
    std::string out;
    for (int64_t i = 0, at = bounds.start; i < bounds.count; ++i, at += i < bounds.count ? bounds.step : 0)
        out += text.substr(begins[static_cast<size_t>(at)],
                           begins[static_cast<size_t>(at) + 1] - begins[static_cast<size_t>(at)]);
    return runtime.string(std::move(out), markup);
}

// Python's obj[key]. kMissing where Python raises TypeError or LookupError.
Result<Value> own_item(Runtime& runtime, const Value& value, const Value& key) {
    if (value.is(Kind::kDict)) {
        if (key.is(Kind::kList) || key.is(Kind::kDict)) return Value();
        TRY_ASSIGN(const Value* found, value.as<Dict>().find(runtime, key));
        return found == nullptr ? Value() : *found;
    }
    if (!key.is_integral()) return Value();
    int64_t index = key.as_integer();
    const bool is_indexed = value.is(Kind::kString) || value.is_sequence() || value.is(Kind::kRange);
    if (!is_indexed) return Value();
    TRY_ASSIGN(const int64_t length, length_of(runtime, value));
    if (index < 0) index += length;
    if (index < 0 || index >= length) return Value();
    if (value.is_sequence()) return value.as<Sequence>().items[static_cast<size_t>(index)];
    if (value.is(Kind::kRange)) return Value::integer(value.as<Range>().start + index * value.as<Range>().step);
    return slice_string(runtime, value, {index, index + 1, 1, 1});
}

}  // namespace

Result<Value> get_plain_attribute(Runtime& runtime, const Value& value, const std::string& name) {
    if (value.is(Kind::kUndefined)) return fail_undefined(value);
    if (is_private(name) || is_mutating_method(value.kind(), name)) return unsafe(runtime, value, name);
    TRY_ASSIGN(Value attribute, own_attribute(runtime, value, name));
    if (attribute.is(Kind::kMissing)) return no_attribute(runtime, value, name);
    return !name.empty() && name[0] == '_' ? unsafe(runtime, value, name) : attribute;
}

Result<Value> get_attribute(Runtime& runtime, const Value& value, const std::string& name) {
    if (value.is(Kind::kDict) && !is_private(name) && find_dict_method(name) == nullptr &&
        !is_mutating_method(Kind::kDict, name)) {
        if (const Value* found = value.as<Dict>().find(name)) return *found;
    }
    return get_plain_attribute(runtime, value, name);
}

Result<Value> get_item(Runtime& runtime, const Value& value, const Value& key) {
    if (value.is(Kind::kUndefined)) return fail_undefined(value);
    TRY_ASSIGN(Value item, own_item(runtime, value, key));
    if (!item.is(Kind::kMissing)) return item;
    if (key.is(Kind::kString)) return get_plain_attribute(runtime, value, std::string(key.text()));
    Text name(runtime);
    TRY(append_repr(name, runtime, key));
    return runtime.undefined(fmt::format("a {} has no element {}", type_name(value), name.view()));
}

Result<Value> get_slice(Runtime& runtime, const Value& value, const Value& start, const Value& stop,
                        const Value& step) {
    if (value.is(Kind::kUndefined)) return fail_undefined(value);
    if (!value.is(Kind::kString) && !value.is_sequence() && !value.is(Kind::kRange))
        return fail("a {} cannot be sliced", type_name(value));
    TRY_ASSIGN(const int64_t length, length_of(runtime, value));
    TRY_ASSIGN(const Bounds bounds, slice_bounds(start, stop, step, length));
    if (value.is(Kind::kString)) return slice_string(runtime, value, bounds);
    if (value.is(Kind::kRange)) {
        const Range& range = value.as<Range>();
        const auto at = [&](int64_t index) {
            return static_cast<__int128>(range.start) + static_cast<__int128>(index) * range.step;
        };
        const __int128 stride = static_cast<__int128>(range.step) * bounds.step;
        const auto fits = [](__int128 x) { return x >= INT64_MIN && x <= INT64_MAX; };
        if (!fits(at(bounds.start)) || !fits(at(bounds.stop)) || !fits(stride))
            return fail("this slice of a range does not fit into 64 bits");
        return Value(runtime.heap().make<Range>(0, static_cast<int64_t>(at(bounds.start)),
                                                static_cast<int64_t>(at(bounds.stop)), static_cast<int64_t>(stride)));
    }
    TRY(runtime.step(bounds.count));
    const auto& items = value.as<Sequence>().items;
    std::vector<Value> out;
    out.reserve(static_cast<size_t>(bounds.count));
    for (int64_t i = 0, at = bounds.start; i < bounds.count; ++i, at += i < bounds.count ? bounds.step : 0)
        out.push_back(items[static_cast<size_t>(at)]);
    return value.is(Kind::kList) ? runtime.list(std::move(out)) : runtime.tuple(std::move(out));
}

Result<Value> get_path(Runtime& runtime, Value value, const Value& path) {
    if (path.is(Kind::kNone) || path.is(Kind::kMissing)) return value;
    if (!path.is(Kind::kString)) return get_item(runtime, value, path);
    std::string_view rest = path.text();
    while (true) {
        const size_t dot = rest.find('.');
        const std::string_view part = rest.substr(0, dot);
        const bool is_index = !part.empty() && part.size() < 19 && part.find_first_not_of("0123456789") == part.npos;
        Value key;
        if (is_index) {
            int64_t index = 0;
            for (const char c : part) index = index * 10 + (c - '0');
            key = Value::integer(index);
        } else {
            TRY_ASSIGN(key, runtime.string(std::string(part)));
        }
        TRY_ASSIGN(value, get_item(runtime, value, key));
        if (dot == std::string_view::npos) return value;
        rest.remove_prefix(dot + 1);
    }
}

}  // namespace invar::jinja
