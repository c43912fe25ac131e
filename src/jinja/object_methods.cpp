// Methods of dict, list, tuple, numbers, loops and cyclers. Methods that change a list or dict are known by name only:
// getting one gives an undefined value, which says so when it is called.
#include <algorithm>

#include "jinja/arguments.h"
#include "jinja/builtins.h"
#include "jinja/compare.h"
#include "jinja/iterate.h"

namespace invar::jinja {

namespace {

template <ViewOf of>
Result<Value> view(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("dict method", arguments, {""}));
    return Value(runtime.heap().make<View>(0, bound[0], of));
}

Result<Value> dict_get(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("get", arguments, {"", "", ""}, 2));
    TRY_ASSIGN(const Value* found, bound[0].as<Dict>().find(runtime, bound[1]));
    if (found != nullptr) return *found;
    return bound.has(2) ? bound[2] : Value::none();
}

Result<Value> dict_copy(Runtime&, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("copy", arguments, {""}));
    return bound[0];  // no copy is needed, because nothing can change it
}

Result<Value> dict_from_keys(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("fromkeys", arguments, {"", "", ""}, 2));
    TRY_ASSIGN(const std::vector<Value> keys, to_vector(runtime, bound[1]));
    Value out = runtime.dict();
    for (const Value& key : keys) TRY(out.as<Dict>().set(runtime, key, bound.has(2) ? bound[2] : Value::none()));
    return out;
}

Result<Value> sequence_count(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("count", arguments, {"", ""}, 2));
    int64_t count = 0;
    for (const Value& item : bound[0].as<Sequence>().items) {
        TRY_ASSIGN(const bool same, equal(runtime, item, bound[1]));
        count += same ? 1 : 0;
    }
    return Value::integer(count);
}

Result<Value> sequence_index(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("index", arguments, {"", "", "", ""}, 2));
    const auto& items = bound[0].as<Sequence>().items;
    const int64_t length = static_cast<int64_t>(items.size());
    TRY_ASSIGN(int64_t start, bound.integer(2, 0));
    TRY_ASSIGN(int64_t stop, bound.integer(3, length));
    if (start < 0) start = start < -length ? 0 : start + length;
    if (stop < 0) stop = stop < -length ? 0 : stop + length;
    for (int64_t i = start; i < std::min(stop, length); ++i) {
        TRY_ASSIGN(const bool same, equal(runtime, items[static_cast<size_t>(i)], bound[1]));
        if (same) return Value::integer(i);
    }
    return fail("index(): the value is not in the {}", type_name(bound[0]));
}

Result<Value> bit_length(Runtime&, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("bit_length", arguments, {""}));
    const int64_t value = bound[0].as_integer();
    uint64_t magnitude = value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
    int64_t bits = 0;
    for (; magnitude != 0; magnitude >>= 1) ++bits;
    return Value::integer(bits);
}

Result<Value> is_integer(Runtime&, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("is_integer", arguments, {""}));
    const double value = bound[0].as_real();
    return Value::boolean(value - value == 0 && value == static_cast<double>(__builtin_trunc(value)));
}

Result<Value> loop_cycle(Runtime&, Arguments& arguments) {
    const auto& given = arguments.positional;
    if (!arguments.keywords.empty()) return fail("loop.cycle() takes no keyword arguments");
    if (given.size() < 2) return fail("loop.cycle() needs at least one value");
    return given[1 + static_cast<size_t>(given[0].as<Loop>().index0) % (given.size() - 1)];
}

Result<Value> loop_changed(Runtime& runtime, Arguments& arguments) {
    if (!arguments.keywords.empty()) return fail("loop.changed() takes no keyword arguments");
    Loop& loop = arguments.positional.at(0).as<Loop>();
    TRY_ASSIGN(const Value now, runtime.tuple({arguments.positional.begin() + 1, arguments.positional.end()}));
    TRY_ASSIGN(const bool same, equal(runtime, loop.last_changed, now));
    loop.last_changed = now;
    return Value::boolean(!same);
}

Result<Value> cycler_next(Runtime&, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("next", arguments, {""}));
    Cycler& cycler = bound[0].as<Cycler>();
    const Value value = cycler.items[cycler.position];
    cycler.position = (cycler.position + 1) % cycler.items.size();
    return value;
}

Result<Value> cycler_reset(Runtime&, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("reset", arguments, {""}));
    bound[0].as<Cycler>().position = 0;
    return Value::none();
}

constexpr Builtin kDict[] = {{"items", view<ViewOf::kItems>},
                             {"keys", view<ViewOf::kKeys>},
                             {"values", view<ViewOf::kValues>},
                             {"get", dict_get},
                             {"copy", dict_copy},
                             {"fromkeys", dict_from_keys}};
constexpr Builtin kSequence[] = {{"count", sequence_count}, {"index", sequence_index}, {"copy", dict_copy}};
constexpr Builtin kInteger[] = {{"bit_length", bit_length}};
constexpr Builtin kFloat[] = {{"is_integer", is_integer}};
constexpr Builtin kLoop[] = {{"cycle", loop_cycle}, {"changed", loop_changed}};
constexpr Builtin kCycler[] = {{"next", cycler_next}, {"reset", cycler_reset}};

constexpr std::string_view kDictChanges[] = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr std::string_view kListChanges[] = {"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"};

}  // namespace

const Builtin* find_dict_method(std::string_view name) { return find_in(kDict, name); }

const Builtin* find_sequence_method(std::string_view name, bool is_tuple) {
    return is_tuple && name == "copy" ? nullptr : find_in(kSequence, name);
}

const Builtin* find_number_method(std::string_view name, bool is_float) {
    return is_float ? find_in(kFloat, name) : find_in(kInteger, name);
}

const Builtin* find_loop_method(std::string_view name) { return find_in(kLoop, name); }
const Builtin* find_cycler_method(std::string_view name) { return find_in(kCycler, name); }

bool is_mutating_method(Kind kind, std::string_view name) {
    if (kind == Kind::kDict)
        return std::find(std::begin(kDictChanges), std::end(kDictChanges), name) != std::end(kDictChanges);
    return kind == Kind::kList &&
           std::find(std::begin(kListChanges), std::end(kListChanges), name) != std::end(kListChanges);
}

}  // namespace invar::jinja
