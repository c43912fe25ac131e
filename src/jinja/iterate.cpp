// Iterators over the kinds of values. The lazy filters bring iterators of their own (filters_lazy.cpp).
#include "jinja/iterate.h"

#include "jinja/characters.h"
#include "jinja/compare.h"
#include "jinja/runtime.h"

namespace invar::jinja {

namespace {

class OverNothing : public Iterator {
  public:
    Result<bool> next(Runtime&, Value&) override { return false; }
};

class OverSequence : public Iterator {
  public:
    explicit OverSequence(Value source) : source_(std::move(source)) {}
    Result<bool> next(Runtime& runtime, Value& item) override {
        const auto& items = source_.as<Sequence>().items;
        if (index_ >= items.size()) return false;
        TRY(runtime.step());
        item = items[index_++];
        return true;
    }

  private:
    Value source_;
    size_t index_ = 0;
};

class OverItems : public Iterator {
  public:
    explicit OverItems(std::vector<Value> items) : items_(std::move(items)) {}
    Result<bool> next(Runtime& runtime, Value& item) override {
        if (index_ >= items_.size()) return false;
        TRY(runtime.step());
        item = std::move(items_[index_++]);
        return true;
    }

  private:
    std::vector<Value> items_;
    size_t index_ = 0;
};

class OverCharacters : public Iterator {
  public:
    explicit OverCharacters(Value source) : source_(std::move(source)) {}
    Result<bool> next(Runtime& runtime, Value& item) override {
        const std::string_view text = source_.text();
        if (position_ >= text.size()) return false;
        TRY(runtime.step());
        const size_t begin = position_;
        decode(text, position_);
        // The items of a Markup are plain strings, as in Python, where str.__iter__ knows nothing of the subclass.
        TRY_ASSIGN(item, runtime.string(std::string(text.substr(begin, position_ - begin))));
        return true;
    }

  private:
    Value source_;
    size_t position_ = 0;
};

class OverDict : public Iterator {
  public:
    OverDict(Value dict, ViewOf of) : dict_(std::move(dict)), of_(of) {}
    Result<bool> next(Runtime& runtime, Value& item) override {
        const auto& entries = dict_.as<Dict>().entries;
        if (index_ >= entries.size()) return false;
        TRY(runtime.step());
        const Dict::Entry& entry = entries[index_++];
        if (of_ == ViewOf::kItems) {
            TRY_ASSIGN(item, runtime.tuple({entry.key, entry.value}));
        } else {
            item = of_ == ViewOf::kKeys ? entry.key : entry.value;
        }
        return true;
    }

  private:
    Value dict_;
    ViewOf of_;
    size_t index_ = 0;
};

class OverRange : public Iterator {
  public:
    explicit OverRange(const Range& range) : next_(range.start), step_(range.step), left_(range.length()) {}
    Result<bool> next(Runtime& runtime, Value& item) override {
        if (left_ <= 0) return false;
        TRY(runtime.step());
        item = Value::integer(next_);
        if (--left_ > 0) next_ += step_;
        return true;
    }

  private:
    int64_t next_, step_, left_;
};

class OverGenerator : public Iterator {
  public:
    explicit OverGenerator(Value source) : source_(std::move(source)) {}
    Result<bool> next(Runtime& runtime, Value& item) override {
        const Nesting nesting(runtime);
        TRY(nesting.check());
        TRY(runtime.step());
        return source_.as<Generator>().iterator->next(runtime, item);
    }

  private:
    Value source_;
};

}  // namespace

bool is_iterable(const Value& value) {
    switch (value.kind()) {
        case Kind::kUndefined:
        case Kind::kString:
        case Kind::kList:
        case Kind::kTuple:
        case Kind::kDict:
        case Kind::kView:
        case Kind::kRange:
        case Kind::kGenerator:
        case Kind::kLoop:
            return true;
        default:
            return false;
    }
}

Result<std::unique_ptr<Iterator>> iterate(Runtime&, const Value& value) {
    switch (value.kind()) {
        case Kind::kUndefined:
            return std::make_unique<OverNothing>();
        case Kind::kString:
            return std::make_unique<OverCharacters>(value);
        case Kind::kList:
        case Kind::kTuple:
            return std::make_unique<OverSequence>(value);
        case Kind::kDict:
            return std::make_unique<OverDict>(value, ViewOf::kKeys);
        case Kind::kView:
            return std::make_unique<OverDict>(value.as<View>().dict, value.as<View>().of);
        case Kind::kRange:
            return std::make_unique<OverRange>(value.as<Range>());
        case Kind::kGenerator:
            return std::make_unique<OverGenerator>(value);
        case Kind::kLoop:
            return fail("iterating over 'loop' itself is not supported; iterate over the loop's values");
        default:
            return fail("{} is not iterable", type_name(value));
    }
}

std::unique_ptr<Iterator> iterate_items(std::vector<Value> items) {
    return std::make_unique<OverItems>(std::move(items));
}

Result<std::vector<Value>> to_vector(Runtime& runtime, const Value& value) {
    TRY_ASSIGN(const std::unique_ptr<Iterator> iterator, iterate(runtime, value));
    std::vector<Value> items;
    while (true) {
        Value item;
        TRY_ASSIGN(const bool more, iterator->next(runtime, item));
        if (!more) return items;
        items.push_back(std::move(item));
    }
}

int64_t string_length(const Value& string) {
    String& object = string.as<String>();
    if (object.length < 0) object.length = count_characters(object.text);
    return object.length;
}

Result<int64_t> length_of(Runtime& runtime, const Value& value) {
    switch (value.kind()) {
        case Kind::kUndefined:
            return 0;
        case Kind::kString:
            return string_length(value);
        case Kind::kList:
        case Kind::kTuple:
            return static_cast<int64_t>(value.as<Sequence>().items.size());
        case Kind::kDict:
            return static_cast<int64_t>(value.as<Dict>().entries.size());
        case Kind::kView:
            return static_cast<int64_t>(value.as<View>().dict.as<Dict>().entries.size());
        case Kind::kRange:
            return value.as<Range>().length();
        case Kind::kLoop:
            return value.as<Loop>().length(runtime);
        default:
            return fail("{} has no length", type_name(value));
    }
}

Result<bool> Loop::advance(Runtime& runtime) {
    Value item;
    if (!after.is(Kind::kMissing)) {
        item = std::move(after);
        after = Value();
    } else {
        TRY_ASSIGN(const bool more, iterator->next(runtime, item));
        if (!more) return false;
    }
    ++index0;
    before = std::move(current);
    current = std::move(item);
    return true;
}

Result<bool> Loop::peek(Runtime& runtime) {
    if (!after.is(Kind::kMissing)) return true;
    Value item;  // an iterator may write here even when it finds nothing more
    TRY_ASSIGN(const bool more, iterator->next(runtime, item));
    if (more) after = std::move(item);
    return more;
}

Result<int64_t> Loop::length(Runtime& runtime) {
    if (known_length >= 0) return known_length;
    // A filtered loop iterates over the items that pass, whose number is unknown until they are read.
    if (!iterable.is(Kind::kMissing) && !iterable.is(Kind::kGenerator)) {
        TRY_ASSIGN(known_length, length_of(runtime, iterable));
        return known_length;
    }
    std::vector<Value> rest;
    while (true) {
        Value item;
        TRY_ASSIGN(const bool more, iterator->next(runtime, item));
        if (!more) break;
        rest.push_back(std::move(item));
    }
    known_length = static_cast<int64_t>(rest.size()) + index0 + 1 + (after.is(Kind::kMissing) ? 0 : 1);
    iterator = iterate_items(std::move(rest));
    return known_length;
}

}  // namespace invar::jinja
