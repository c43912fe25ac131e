// Global functions: range, dict, namespace, cycler, joiner, and Hugging Face's raise_exception and strftime_now.
#include "jinja/arguments.h"
#include "jinja/builtins.h"
#include "jinja/compare.h"
#include "jinja/iterate.h"
#include "jinja/strftime.h"
#include "jinja/text.h"

namespace invar::jinja {

namespace {

constexpr int64_t kLargestRange = 100'000;  // jinja2's sandbox has the same bound

Result<Value> range(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("range", arguments, {"", "", ""}));
    TRY_ASSIGN(const int64_t first, bound.integer(0, 0));
    TRY_ASSIGN(const int64_t second, bound.integer(1, 0));
    TRY_ASSIGN(const int64_t step, bound.integer(2, 1));
    if (step == 0) return fail("range() needs a step that is not zero");
    Value made = bound.has(1) ? Value(runtime.heap().make<Range>(0, first, second, step))
                              : Value(runtime.heap().make<Range>(0, int64_t{0}, first, int64_t{1}));
    const int64_t length = made.as<Range>().length();
    if (length > kLargestRange)
        return fail("range() of {} items is too long; templates may use up to {}", length, kLargestRange);
    return made;
}

// dict(mapping or pairs, **more)
Result<Value> dict(Runtime& runtime, Arguments& arguments) {
    Value out = runtime.dict();
    if (arguments.positional.size() > 1) return fail("dict() takes at most one positional argument");
    if (!arguments.positional.empty()) {
        const Value& source = arguments.positional[0];
        if (source.is(Kind::kUndefined)) return fail_undefined(source);
        TRY_ASSIGN(const std::vector<Value> items, to_vector(runtime, source));
        for (const Value& item : items) {
            if (source.is(Kind::kDict)) {
                TRY_ASSIGN(const Value* value, source.as<Dict>().find(runtime, item));
                TRY(out.as<Dict>().set(runtime, item, *value));
                continue;
            }
            TRY_ASSIGN(const std::vector<Value> pair, to_vector(runtime, item));
            if (pair.size() != 2) return fail("dict() needs pairs, not {} values", pair.size());
            TRY(out.as<Dict>().set(runtime, pair[0], pair[1]));
        }
    }
    for (const auto& [name, value] : arguments.keywords) {
        TRY_ASSIGN(Value key, runtime.string(name));
        TRY(out.as<Dict>().set(runtime, std::move(key), value));
    }
    return out;
}

Result<Value> make_namespace(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(Value attributes, dict(runtime, arguments));
    return Value(runtime.heap().make<Namespace>(0, std::move(attributes)));
}

Result<Value> cycler(Runtime& runtime, Arguments& arguments) {
    if (arguments.positional.empty() || !arguments.keywords.empty()) return fail("cycler() needs at least one value");
    const int64_t bytes = static_cast<int64_t>(arguments.positional.size() * sizeof(Value));
    return Value(runtime.heap().make<Cycler>(bytes, arguments.positional));
}

Result<Value> joiner(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("joiner", arguments, {"sep"}, 0));
    Value separator = bound[0];
    if (!bound.has(0)) {
        TRY_ASSIGN(separator, runtime.string(", "));
    }
    return Value(runtime.heap().make<Joiner>(0, std::move(separator)));
}

Result<Value> raise_exception(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("raise_exception", arguments, {"message"}));
    TRY_ASSIGN(const std::string message, to_text(runtime, bound[0]));
    return fail("the template raised: {}", message);
}

Result<Value> strftime_now(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("strftime_now", arguments, {"format"}));
    TRY_ASSIGN(const std::string_view format, bound.text(0, ""));
    TRY(runtime.reserve(32 * static_cast<int64_t>(format.size())));
    return runtime.string(format_time(format, runtime.now_seconds()));
}

Result<Value> lipsum(Runtime&, Arguments&) { return fail("lipsum() is not supported: its text is random"); }

constexpr Builtin kFunctions[] = {
    {"range", range},   {"dict", dict},     {"namespace", make_namespace},        {"cycler", cycler},
    {"joiner", joiner}, {"lipsum", lipsum}, {"raise_exception", raise_exception}, {"strftime_now", strftime_now},
};

}  // namespace

const Builtin* find_function(std::string_view name) { return find_in(kFunctions, name); }

}  // namespace invar::jinja
