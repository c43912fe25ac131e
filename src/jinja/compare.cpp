// Numbers of different types compare by value, exactly: an integer beyond 2^53 is not rounded to a float first.
#include "jinja/compare.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>

#include "jinja/characters.h"
#include "jinja/iterate.h"
#include "jinja/runtime.h"

namespace invar::jinja {

namespace {

enum class Order { kLess, kEqual, kGreater, kNone };  // kNone: one of them is not a number

Order order_of(int64_t left, int64_t right) {
    return left < right ? Order::kLess : left > right ? Order::kGreater : Order::kEqual;
}

Order order_of(double left, double right) {
    if (left < right) return Order::kLess;
    if (left > right) return Order::kGreater;
    return left == right ? Order::kEqual : Order::kNone;
}

Order order_of(int64_t left, double right) {
    if (std::isnan(right)) return Order::kNone;
    if (right >= 0x1p63) return Order::kLess;
    if (right < -0x1p63) return Order::kGreater;
    const double whole = std::floor(right);
    const Order order = order_of(left, static_cast<int64_t>(whole));
    return order == Order::kEqual && right > whole ? Order::kLess : order;
}

Order order_of_numbers(const Value& left, const Value& right) {
    if (left.is(Kind::kFloat)) {
        if (right.is(Kind::kFloat)) return order_of(left.as_real(), right.as_real());
        const Order flipped = order_of(right.as_integer(), left.as_real());
        return flipped == Order::kLess ? Order::kGreater : flipped == Order::kGreater ? Order::kLess : flipped;
    }
    if (right.is(Kind::kFloat)) return order_of(left.as_integer(), right.as_real());
    return order_of(left.as_integer(), right.as_integer());
}

bool holds(Operation operation, Order order) {
    switch (operation) {
        case Operation::kLess:
            return order == Order::kLess;
        case Operation::kLessEqual:
            return order == Order::kLess || order == Order::kEqual;
        case Operation::kGreater:
            return order == Order::kGreater;
        default:
            return order == Order::kGreater || order == Order::kEqual;
    }
}

const char* sign_of_comparison(Operation operation) {
    switch (operation) {
        case Operation::kLess:
            return "<";
        case Operation::kLessEqual:
            return "<=";
        case Operation::kGreater:
            return ">";
        default:
            return ">=";
    }
}

Result<bool> equal_sequences(Runtime& runtime, const std::vector<Value>& left, const std::vector<Value>& right) {
    if (left.size() != right.size()) return false;
    for (size_t i = 0; i < left.size(); ++i) {
        TRY_ASSIGN(const bool same, equal(runtime, left[i], right[i]));
        if (!same) return false;
    }
    return true;
}

Result<bool> equal_dicts(Runtime& runtime, const Dict& left, const Dict& right) {
    if (left.entries.size() != right.entries.size()) return false;
    for (const Dict::Entry& entry : left.entries) {
        TRY_ASSIGN(const Value* other, right.find(runtime, entry.key));
        if (other == nullptr) return false;
        TRY_ASSIGN(const bool same, equal(runtime, entry.value, *other));
        if (!same) return false;
    }
    return true;
}

// Views of keys and of items compare as sets.
Result<bool> equal_views(Runtime& runtime, const Value& left, const Value& right) {
    const View &a = left.as<View>(), &b = right.as<View>();
    if (a.of == ViewOf::kValues || b.of == ViewOf::kValues) return left.object() == right.object();
    TRY_ASSIGN(const std::vector<Value> items, to_vector(runtime, left));
    TRY_ASSIGN(const int64_t other_length, length_of(runtime, right));
    if (static_cast<int64_t>(items.size()) != other_length) return false;
    for (const Value& item : items) {
        TRY_ASSIGN(const bool found, contains(runtime, right, item));
        if (!found) return false;
    }
    return true;
}

bool equal_ranges(const Range& left, const Range& right) {
    const int64_t length = left.length();
    if (length != right.length()) return false;
    return length == 0 || (left.start == right.start && (length == 1 || left.step == right.step));
}

}  // namespace

bool is_true(const Value& value) {
    switch (value.kind()) {
        case Kind::kMissing:
        case Kind::kNone:
        case Kind::kUndefined:
            return false;
        case Kind::kBool:
        case Kind::kInteger:
            return value.as_integer() != 0;
        case Kind::kFloat:
            return value.as_real() != 0;
        case Kind::kString:
            return !value.text().empty();
        case Kind::kList:
        case Kind::kTuple:
            return !value.as<Sequence>().items.empty();
        case Kind::kDict:
            return !value.as<Dict>().entries.empty();
        case Kind::kView:
            return is_true(value.as<View>().dict);
        case Kind::kRange:
            return value.as<Range>().length() > 0;
        default:
            return true;
    }
}

uint64_t hash_text(std::string_view text) { return std::hash<std::string_view>{}(text); }

Result<uint64_t> hash_of(Runtime& runtime, const Value& value) {
    const Nesting nesting(runtime);
    TRY(nesting.check());
    TRY(runtime.step());
    switch (value.kind()) {
        case Kind::kBool:
        case Kind::kInteger:
            return std::hash<int64_t>{}(value.as_integer()) * 0x9E3779B97F4A7C15u;
        case Kind::kFloat: {
            const double real = value.as_real();
            if (real >= -0x1p63 && real < 0x1p63 && real == std::floor(real))
                return std::hash<int64_t>{}(static_cast<int64_t>(real)) * 0x9E3779B97F4A7C15u;
            return std::bit_cast<uint64_t>(real) * 0x9E3779B97F4A7C15u;
        }
        case Kind::kString:
            TRY(runtime.step_bytes(static_cast<int64_t>(value.text().size())));
            return hash_text(value.text());
        case Kind::kTuple: {
            uint64_t hash = 0x345678;
            for (const Value& item : value.as<Sequence>().items) {
                TRY_ASSIGN(const uint64_t part, hash_of(runtime, item));
                hash = (hash ^ part) * 0x9E3779B97F4A7C15u + 0x51ED27;
            }
            return hash;
        }
        case Kind::kList:
        case Kind::kDict:
        case Kind::kView:
            return fail("a {} cannot be a key: unhashable type", type_name(value));
        case Kind::kNone:
        case Kind::kMissing:
        case Kind::kUndefined:
            return static_cast<uint64_t>(value.kind());
        case Kind::kRange:
            return static_cast<uint64_t>(value.as<Range>().length());
        default:
            return static_cast<uint64_t>(std::hash<const void*>{}(value.object()));
    }
}

Result<bool> equal(Runtime& runtime, const Value& left, const Value& right) {
    if (left.is_number() && right.is_number()) return order_of_numbers(left, right) == Order::kEqual;
    if (left.kind() != right.kind()) return false;
    const Nesting nesting(runtime);
    TRY(nesting.check());
    TRY(runtime.step());
    switch (left.kind()) {
        case Kind::kMissing:
        case Kind::kNone:
        case Kind::kUndefined:
            return true;
        case Kind::kString:
            if (left.text().size() != right.text().size()) return false;
            TRY(runtime.step_bytes(static_cast<int64_t>(left.text().size())));
            return left.text() == right.text();
        case Kind::kList:
        case Kind::kTuple:
            return equal_sequences(runtime, left.as<Sequence>().items, right.as<Sequence>().items);
        case Kind::kDict:
            return equal_dicts(runtime, left.as<Dict>(), right.as<Dict>());
        case Kind::kView:
            return equal_views(runtime, left, right);
        case Kind::kRange:
            return equal_ranges(left.as<Range>(), right.as<Range>());
        default:
            return left.object() == right.object();
    }
}

Result<bool> ordered(Runtime& runtime, Operation operation, const Value& left, const Value& right) {
    if (left.is_number() && right.is_number()) return holds(operation, order_of_numbers(left, right));
    if (left.is(Kind::kUndefined)) return fail_undefined(left);
    if (right.is(Kind::kUndefined)) return fail_undefined(right);
    const Nesting nesting(runtime);
    TRY(nesting.check());
    TRY(runtime.step());
    if (left.is(Kind::kString) && right.is(Kind::kString)) {
        TRY(runtime.step_bytes(static_cast<int64_t>(std::min(left.text().size(), right.text().size()))));
        // The bytes of UTF-8 sort in the order of code points.
        const int sign = left.text().compare(right.text());
        return holds(operation, order_of(static_cast<int64_t>(sign), int64_t{0}));
    }
    if (left.is_sequence() && left.kind() == right.kind()) {
        const auto &a = left.as<Sequence>().items, &b = right.as<Sequence>().items;
        for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
            TRY_ASSIGN(const bool same, equal(runtime, a[i], b[i]));
            if (!same) return ordered(runtime, operation, a[i], b[i]);
        }
        return holds(operation, order_of(static_cast<int64_t>(a.size()), static_cast<int64_t>(b.size())));
    }
    return fail("'{}' is not supported between {} and {}", sign_of_comparison(operation), type_name(left),
                type_name(right));
}

Result<bool> contains(Runtime& runtime, const Value& container, const Value& item) {
    switch (container.kind()) {
        case Kind::kString:
            if (!item.is(Kind::kString)) return fail("'in' a str needs a str on its left, not {}", type_name(item));
            TRY(runtime.step_bytes(static_cast<int64_t>(container.text().size())));
            return find_bytes(container.text(), item.text()) != std::string_view::npos;
        case Kind::kDict: {
            TRY_ASSIGN(const Value* found, container.as<Dict>().find(runtime, item));
            return found != nullptr;
        }
        case Kind::kView: {
            const View& view = container.as<View>();
            if (view.of == ViewOf::kKeys) return contains(runtime, view.dict, item);
            break;
        }
        default:
            break;
    }
    TRY_ASSIGN(const std::unique_ptr<Iterator> iterator, iterate(runtime, container));
    Value candidate;
    while (true) {
        TRY_ASSIGN(const bool more, iterator->next(runtime, candidate));
        if (!more) return false;
        TRY_ASSIGN(const bool same, equal(runtime, candidate, item));
        if (same) return true;
    }
}

tl::unexpected<Error> fail_undefined(const Value& value) { return fail("{}", value.as<Undefined>().message); }

Result<void> sort_by_key(Runtime& runtime, std::vector<Keyed>& items, bool reverse) {
    if (reverse) std::reverse(items.begin(), items.end());
    // This merge sort exists because a comparison may fail, which std::stable_sort cannot report.
    std::vector<Keyed> merged(items.size());
    for (size_t width = 1; width < items.size(); width *= 2) {
        for (size_t begin = 0; begin < items.size(); begin += 2 * width) {
            const size_t middle = std::min(begin + width, items.size());
            const size_t end = std::min(begin + 2 * width, items.size());
            size_t left = begin, right = middle;
            for (size_t out = begin; out < end; ++out) {
                bool take_right = left == middle;
                if (left < middle && right < end) {
                    TRY_ASSIGN(take_right, ordered(runtime, Operation::kLess, items[right].key, items[left].key));
                }
                merged[out] = std::move(items[take_right ? right++ : left++]);
            }
        }
        items.swap(merged);
    }
    if (reverse) std::reverse(items.begin(), items.end());
    return {};
}

}  // namespace invar::jinja
