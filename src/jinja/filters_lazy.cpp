// Filters that return generators: they compute an item when it is asked for and can be read once. Templates can tell: a
// generator is true even if it is empty, has no length, and fails only when it is read.
#include <algorithm>

#include "jinja/arguments.h"
#include "jinja/attributes.h"
#include "jinja/builtins.h"
#include "jinja/compare.h"
#include "jinja/filter_keys.h"
#include "jinja/iterate.h"

namespace invar::jinja {

namespace {

// An iterator over a value that is not looked at before the first item is pulled.
class OverLazily : public Iterator {
  public:
    explicit OverLazily(Value source) : source_(std::move(source)) {}

  protected:
    virtual Result<void> prepare(Runtime&) { return {}; }

    // Pulls the next item of the source. An empty or false source needs no preparation.
    Result<bool> pull(Runtime& runtime, Value& item, bool check_truth) {
        if (!started_) {
            started_ = true;
            if (!check_truth || is_true(source_)) {
                TRY(prepare(runtime));
                TRY_ASSIGN(iterator_, iterate(runtime, source_));
            }
        }
        if (iterator_ == nullptr) return false;
        return iterator_->next(runtime, item);
    }

  private:
    Value source_;
    bool started_ = false;
    std::unique_ptr<Iterator> iterator_;
};

Result<const Builtin*> named(const Value& name, const char* what, const Builtin* (*find)(std::string_view)) {
    if (name.is(Kind::kUndefined)) return fail_undefined(name);
    if (!name.is(Kind::kString)) return fail("the name of a {} must be a str, not a {}", what, type_name(name));
    const Builtin* found = find(name.text());
    if (found == nullptr) return fail("there is no {} '{}'", what, name.text());
    return found;
}

class Mapped : public OverLazily {
  public:
    Mapped(Value source, Arguments arguments) : OverLazily(std::move(source)), arguments_(std::move(arguments)) {}

    Result<bool> next(Runtime& runtime, Value& item) override {
        TRY_ASSIGN(const bool more, pull(runtime, item, true));
        if (!more) return false;
        if (filter_ == nullptr) {
            TRY_ASSIGN(item, filter_key(runtime, item, key_));
            return true;
        }
        Arguments call = arguments_;
        call.positional[0] = std::move(item);
        TRY_ASSIGN(item, filter_->run(runtime, call));
        return true;
    }

  protected:
    Result<void> prepare(Runtime&) override {
        if (!arguments_.positional.empty()) {
            TRY_ASSIGN(filter_, named(arguments_.positional[0], "filter", find_filter));
            return {};
        }
        bool has_attribute = false;
        for (const auto& [name, value] : arguments_.keywords) {
            if (name == "attribute") {
                key_.attribute = value;
                has_attribute = true;
            } else if (name == "default") {
                key_.otherwise = value;
            } else {
                return fail("map() has no argument '{}'", name);
            }
        }
        if (!has_attribute) return fail("map() needs the name of a filter or an attribute");
        return {};
    }

  private:
    Arguments arguments_;  // the first positional one is the filter's name
    const Builtin* filter_ = nullptr;
    FilterKey key_{Value(), Value(), false};
};

class Selected : public OverLazily {
  public:
    Selected(Value source, Arguments arguments, bool by_attribute, bool wanted)
        : OverLazily(std::move(source)),
          arguments_(std::move(arguments)),
          by_attribute_(by_attribute),
          wanted_(wanted) {}

    Result<bool> next(Runtime& runtime, Value& item) override {
        while (true) {
            TRY_ASSIGN(const bool more, pull(runtime, item, true));
            if (!more) return false;
            TRY_ASSIGN(const bool passes, check(runtime, item));
            if (passes == wanted_) return true;
        }
    }

  protected:
    Result<void> prepare(Runtime&) override {
        if (by_attribute_) {
            if (arguments_.positional.empty()) return fail("the name of an attribute is missing");
            attribute_ = arguments_.positional[0];
            arguments_.positional.erase(arguments_.positional.begin());
        }
        if (arguments_.positional.empty()) return {};
        TRY_ASSIGN(test_, named(arguments_.positional[0], "test", find_test));
        return {};
    }

  private:
    Result<bool> check(Runtime& runtime, const Value& item) {
        TRY_ASSIGN(Value looked_at, get_path(runtime, item, attribute_));
        if (test_ == nullptr) return is_true(looked_at);
        Arguments call = arguments_;
        call.positional[0] = std::move(looked_at);
        TRY_ASSIGN(const Value result, test_->run(runtime, call));
        return is_true(result);
    }

    Arguments arguments_;  // the first positional one is the test's name
    bool by_attribute_, wanted_;
    Value attribute_;
    const Builtin* test_ = nullptr;
};

class Unique : public OverLazily {
  public:
    Unique(Value source, FilterKey key, Value seen)
        : OverLazily(std::move(source)), key_(std::move(key)), seen_(std::move(seen)) {}

    Result<bool> next(Runtime& runtime, Value& item) override {
        while (true) {
            TRY_ASSIGN(const bool more, pull(runtime, item, false));
            if (!more) return false;
            TRY_ASSIGN(const Value key, filter_key(runtime, item, key_));
            TRY_ASSIGN(const Value* found, seen_.as<Dict>().find(runtime, key));
            if (found != nullptr) continue;
            TRY(seen_.as<Dict>().set(runtime, key, Value::none()));
            return true;
        }
    }

  private:
    FilterKey key_;
    Value seen_;
};

class Batched : public OverLazily {
  public:
    Batched(Value source, int64_t size, Value filler)
        : OverLazily(std::move(source)), size_(size), filler_(std::move(filler)) {}

    Result<bool> next(Runtime& runtime, Value& item) override {
        std::vector<Value> batch = std::move(rest_);
        rest_.clear();
        while (true) {
            Value value;
            TRY_ASSIGN(const bool more, pull(runtime, value, false));
            if (!more) break;
            if (static_cast<int64_t>(batch.size()) == size_) {
                rest_.push_back(std::move(value));
                TRY_ASSIGN(item, runtime.list(std::move(batch)));
                return true;
            }
            batch.push_back(std::move(value));
        }
        if (batch.empty()) return false;
        const int64_t missing = size_ - static_cast<int64_t>(batch.size());
        if (!filler_.is(Kind::kMissing) && !filler_.is(Kind::kNone) && missing > 0) {
            TRY(runtime.reserve(missing < (int64_t{1} << 40) ? missing * static_cast<int64_t>(sizeof(Value)) : -1));
            batch.insert(batch.end(), static_cast<size_t>(missing), filler_);
        }
        TRY_ASSIGN(item, runtime.list(std::move(batch)));
        return true;
    }

  private:
    int64_t size_;
    Value filler_;
    std::vector<Value> rest_;
};

class Sliced : public OverLazily {
  public:
    Sliced(Value source, int64_t slices, Value filler)
        : OverLazily(std::move(source)), slices_(slices), filler_(std::move(filler)) {}

    Result<bool> next(Runtime& runtime, Value& item) override {
        if (!is_read_) {
            is_read_ = true;
            while (true) {
                Value value;
                TRY_ASSIGN(const bool more, pull(runtime, value, false));
                if (!more) break;
                items_.push_back(std::move(value));
            }
            if (slices_ == 0) return fail("the filter 'slice' needs at least one slice");
        }
        if (next_ >= slices_) return false;
        TRY(runtime.step());
        const int64_t length = static_cast<int64_t>(items_.size());
        const int64_t each = length / slices_, with_extra = length % slices_;
        const int64_t begin = next_ * each + std::min(next_, with_extra);
        const int64_t end = begin + each + (next_ < with_extra ? 1 : 0);
        std::vector<Value> part(items_.begin() + begin, items_.begin() + end);
        if (!filler_.is(Kind::kMissing) && !filler_.is(Kind::kNone) && next_ >= with_extra) part.push_back(filler_);
        ++next_;
        TRY_ASSIGN(item, runtime.list(std::move(part)));
        return true;
    }

  private:
    int64_t slices_;
    Value filler_;
    std::vector<Value> items_;
    bool is_read_ = false;
    int64_t next_ = 0;
};

class ItemsOf : public OverLazily {
  public:
    explicit ItemsOf(Value source) : OverLazily(source), source_(std::move(source)) {}
    Result<bool> next(Runtime& runtime, Value& item) override {
        if (source_.is(Kind::kUndefined)) return false;
        if (!source_.is(Kind::kDict)) return fail("the filter 'items' needs a dict, not a {}", type_name(source_));
        const auto& entries = source_.as<Dict>().entries;
        if (index_ >= entries.size()) return false;
        TRY(runtime.step());
        TRY_ASSIGN(item, runtime.tuple({entries[index_].key, entries[index_].value}));
        ++index_;
        return true;
    }

  private:
    Value source_;
    size_t index_ = 0;
};

Value take_first(Arguments& arguments) {
    Value first = std::move(arguments.positional.at(0));
    arguments.positional.erase(arguments.positional.begin());
    return first;
}

Result<Value> map(Runtime& runtime, Arguments& arguments) {
    Value source = take_first(arguments);
    return runtime.generator(std::make_unique<Mapped>(std::move(source), std::move(arguments)));
}

template <bool by_attribute, bool wanted>
Result<Value> select(Runtime& runtime, Arguments& arguments) {
    Value source = take_first(arguments);
    return runtime.generator(std::make_unique<Selected>(std::move(source), std::move(arguments), by_attribute, wanted));
}

Result<Value> unique(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("unique", arguments, {"value", "case_sensitive", "attribute"}));
    FilterKey key{bound[2], Value(), !bound.is_true(1, false)};
    return runtime.generator(std::make_unique<Unique>(bound[0], std::move(key), runtime.dict()));
}

Result<Value> batch(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("batch", arguments, {"value", "linecount", "fill_with"}, 2));
    TRY_ASSIGN(const int64_t size, bound.integer(1, 1));
    return runtime.generator(std::make_unique<Batched>(bound[0], size, bound[2]));
}

Result<Value> slice(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("slice", arguments, {"value", "slices", "fill_with"}, 2));
    TRY_ASSIGN(const int64_t slices, bound.integer(1, 1));
    return runtime.generator(std::make_unique<Sliced>(bound[0], slices, bound[2]));
}

Result<Value> items(Runtime& runtime, Arguments& arguments) {
    TRY_ASSIGN(const Bound bound, bind("items", arguments, {"value"}));
    return runtime.generator(std::make_unique<ItemsOf>(bound[0]));
}

constexpr Builtin kLazyFilters[] = {
    {"map", map},
    {"select", select<false, true>},
    {"reject", select<false, false>},
    {"selectattr", select<true, true>},
    {"rejectattr", select<true, false>},
    {"unique", unique},
    {"batch", batch},
    {"slice", slice},
    {"items", items},
};

}  // namespace

std::span<const Builtin> lazy_filters() { return kLazyFilters; }

const Builtin* find_filter(std::string_view name) {
    for (const auto table : {text_filters(), number_filters(), sequence_filters(), lazy_filters()}) {
        if (const Builtin* found = find_in(table, name)) return found;
    }
    return nullptr;
}

bool is_refused_filter(std::string_view name) {
    constexpr std::string_view kRefused[] = {"random", "urlize", "pprint", "wordwrap", "striptags"};
    return std::find(std::begin(kRefused), std::end(kRefused), name) != std::end(kRefused);
}

}  // namespace invar::jinja
