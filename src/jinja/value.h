// The values of templates, which are Python's as far as templates can see. Strings are UTF-8 and counted in code
// points. Integers have 64 bits. Lists, tuples and dicts never change once made (the sandbox allows no mutation); only
// a namespace does. Every object belongs to a Heap, which counts live bytes against the limit and frees without
// recursion. operators.h has the operators, attributes.h attributes and methods.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace invar::jinja {

class Heap;
class Runtime;
struct Statement;
struct Arguments;

enum class Kind : uint8_t {
    kMissing,  // a variable that was never set; no operation returns it
    kNone,
    kBool,
    kInteger,
    kFloat,
    // The kinds from here on are objects.
    kUndefined,
    kString,
    kList,
    kTuple,
    kDict,
    kView,  // d.keys(), d.values(), d.items()
    kRange,
    kGenerator,  // what the lazy filters return: iterable once, always true, no length
    kNamespace,
    kFunction,  // a built-in function, or a method bound to its object
    kMacro,
    kLoop,
    kCycler,
    kJoiner,
    kActivation,  // the variables of one running function; never visible to a template
};

class Object {
  public:
    Object(Heap& heap, Kind kind) : heap_(heap), kind_(kind) {}
    virtual ~Object() = default;
    Object(const Object&) = delete;
    Object& operator=(const Object&) = delete;

    // Drops the references of the object, for objects that may be part of a cycle.
    virtual void clear() {}

    Kind kind() const { return kind_; }

  private:
    friend class Heap;
    friend class Value;
    Heap& heap_;
    Object* next_dead_ = nullptr;
    int64_t bytes_ = 0;  // how much the heap was charged for it
    int64_t references_ = 0;
    size_t watched_at_ = 0;  // its place in Heap::watched_
    Kind kind_;
};

class Value {
  public:
    Value() : integer_(0) {}
    explicit Value(Object* object) : kind_(object->kind()), object_(object) { ++object->references_; }
    Value(const Value& other) : kind_(other.kind_), integer_(other.integer_) { retain(); }
    Value(Value&& other) noexcept : kind_(other.kind_), integer_(other.integer_) { other.kind_ = Kind::kMissing; }
    Value& operator=(Value other) noexcept {
        std::swap(kind_, other.kind_);
        std::swap(integer_, other.integer_);
        return *this;
    }
    ~Value() { release(); }

    static Value none() { return Value(Kind::kNone, 0); }
    static Value boolean(bool value) { return Value(Kind::kBool, value ? 1 : 0); }
    static Value integer(int64_t value) { return Value(Kind::kInteger, value); }
    static Value real(double value);

    Kind kind() const { return kind_; }
    bool is(Kind kind) const { return kind_ == kind; }
    bool is_object() const { return kind_ >= Kind::kUndefined; }
    bool is_sequence() const { return kind_ == Kind::kList || kind_ == Kind::kTuple; }
    // bool is an integer in Python.
    bool is_integral() const { return kind_ == Kind::kInteger || kind_ == Kind::kBool; }
    bool is_number() const { return is_integral() || kind_ == Kind::kFloat; }

    int64_t as_integer() const { return integer_; }  // of a bool: 0 or 1
    bool as_boolean() const { return integer_ != 0; }
    double as_real() const { return real_; }
    template <class T>
    T& as() const {
        return *static_cast<T*>(object_);
    }
    Object* object() const { return object_; }
    std::string_view text() const;  // of a string
    bool is_markup() const;         // a string that the filters `safe` or `escape` made

  private:
    Value(Kind kind, int64_t integer) : kind_(kind), integer_(integer) {}
    void retain() {
        if (is_object()) ++object_->references_;
    }
    void release();

    Kind kind_ = Kind::kMissing;
    union {
        int64_t integer_;
        double real_;
        Object* object_;
    };
};

// Counts the bytes of live objects. When it is destroyed, it also destroys what is left (cycles through namespaces and
// macros).
class Heap {
  public:
    explicit Heap(int64_t limit) : limit_(limit) {}
    ~Heap();
    Heap(const Heap&) = delete;
    Heap& operator=(const Heap&) = delete;

    // `payload`: the bytes that the object holds beyond itself.
    template <class T, class... Args>
    T* make(int64_t payload, Args&&... args) {
        T* object = new T(*this, std::forward<Args>(args)...);
        object->bytes_ = static_cast<int64_t>(sizeof(T)) + payload;
        live_ += object->bytes_;
        return object;
    }
    void charge(Object& object, int64_t bytes) { object.bytes_ += bytes, live_ += bytes; }
    void charge_buffer(int64_t bytes) { live_ += bytes; }
    bool has_room_for(int64_t bytes) const { return bytes <= limit_ - live_; }
    bool is_over_limit() const { return live_ > limit_; }
    int64_t limit() const { return limit_; }
    int64_t live() const { return live_; }

    // Registers an object that may refer to itself, so that it is cleared with the heap.
    void watch(Object& object) {
        object.watched_at_ = watched_.size();
        watched_.push_back(&object);
    }
    void unwatch(Object& object) {
        watched_[object.watched_at_] = watched_.back();
        watched_[object.watched_at_]->watched_at_ = object.watched_at_;
        watched_.pop_back();
    }

  private:
    friend class Value;
    void bury(Object* object);  // frees it and everything that only it held, one object at a time

    int64_t limit_;
    int64_t live_ = 0;
    std::vector<Object*> watched_;
    Object* dead_ = nullptr;
    bool burying_ = false;
};

// Gives items one at a time. Its source may be lazy and may fail.
class Iterator {
  public:
    virtual ~Iterator() = default;
    virtual Result<bool> next(Runtime& runtime, Value& item) = 0;  // false at the end
};

struct Undefined : Object {
    Undefined(Heap& heap, std::string what) : Object(heap, Kind::kUndefined), message(std::move(what)) {}
    std::string message;  // the error of any operation on it
};

struct String : Object {
    String(Heap& heap, std::string utf8, bool is_html)
        : Object(heap, Kind::kString), text(std::move(utf8)), markup(is_html) {}
    std::string text;
    int64_t length = -1;  // code points; -1 until someone asks
    bool markup;
};

struct Sequence : Object {
    Sequence(Heap& heap, Kind kind, std::vector<Value> values) : Object(heap, kind), items(std::move(values)) {}
    std::vector<Value> items;
    bool group = false;  // made by the filter groupby: a pair with .grouper and .list
};

struct Dict : Object {
    struct Entry {
        Value key, value;
        uint64_t hash;
    };
    explicit Dict(Heap& heap) : Object(heap, Kind::kDict) {}
    const Value* find(std::string_view key) const;
    Result<const Value*> find(Runtime& runtime, const Value& key) const;  // fails if the key cannot be hashed
    Result<void> set(Runtime& runtime, Value key, Value value);  // replaces the value of a key, which keeps its place
    std::vector<Entry> entries;

  private:
    void insert_slot(uint64_t hash, int32_t entry);
    std::vector<int32_t> slots_;  // open addressing, -1 empty; unused up to 8 entries
};

enum class ViewOf : uint8_t { kKeys, kValues, kItems };
struct View : Object {
    View(Heap& heap, Value source, ViewOf what) : Object(heap, Kind::kView), dict(std::move(source)), of(what) {}
    Value dict;
    ViewOf of;
};

struct Range : Object {
    Range(Heap& heap, int64_t first, int64_t end, int64_t stride)
        : Object(heap, Kind::kRange), start(first), stop(end), step(stride) {}
    int64_t length() const;
    int64_t start, stop, step;
};

struct Generator : Object {
    Generator(Heap& heap, std::unique_ptr<Iterator> source)
        : Object(heap, Kind::kGenerator), iterator(std::move(source)) {}
    std::unique_ptr<Iterator> iterator;
};

struct Namespace : Object {
    Namespace(Heap& heap, Value initial) : Object(heap, Kind::kNamespace), attributes(std::move(initial)) {
        heap.watch(*this);
        owner = &heap;
    }
    ~Namespace() override { owner->unwatch(*this); }
    void clear() override { attributes = Value(); }
    Value attributes;  // a Dict of its own
    Heap* owner;
};

// A row of a table of built-ins. The first positional argument of a method is its object, that of a filter or test its
// input.
struct Builtin {
    std::string_view name;
    Result<Value> (*run)(Runtime& runtime, Arguments& arguments);
};

struct Function : Object {
    Function(Heap& heap, const Builtin& what, Value receiver)
        : Object(heap, Kind::kFunction), builtin(what), self(std::move(receiver)) {}
    Builtin builtin;
    Value self;  // missing for a plain function
};

struct Activation : Object {
    Activation(Heap& heap, int64_t slot_count, Value enclosing)
        : Object(heap, Kind::kActivation), slots(slot_count), parent(std::move(enclosing)) {
        heap.watch(*this);
        owner = &heap;
    }
    ~Activation() override { owner->unwatch(*this); }
    void clear() override { slots.clear(), parent = Value(); }
    std::vector<Value> slots;
    Value parent;  // the Activation of the function around this one, or missing
    Heap* owner;
};

struct Macro : Object {
    Macro(Heap& heap, const Statement& what, Value around)
        : Object(heap, Kind::kMacro), statement(what), enclosing(std::move(around)) {}
    const Statement& statement;  // a macro or a call block
    Value enclosing;             // Activation
};

struct Cycler : Object {
    Cycler(Heap& heap, std::vector<Value> values) : Object(heap, Kind::kCycler), items(std::move(values)) {}
    std::vector<Value> items;
    size_t position = 0;
};

struct Joiner : Object {
    Joiner(Heap& heap, Value text) : Object(heap, Kind::kJoiner), separator(std::move(text)) {}
    Value separator;
    bool used = false;
};

// The arguments of a call. bind() in arguments.h assigns them to parameters.
struct Arguments {
    std::vector<Value> positional;
    std::vector<std::pair<std::string, Value>> keywords;
};

// The name of the type in Python, e.g. "str", "NoneType", "dict_items".
std::string_view type_name(const Value& value);

}  // namespace invar::jinja
