// Counts the steps, memory, output and nesting of one rendering, and owns the heap of its values. Nothing else counts
// them. Everything that evaluates, iterates or builds a value takes the Runtime. limits.h has the limits.
#pragma once

#include "jinja/limits.h"
#include "jinja/value.h"

namespace invar::jinja {

class Runtime {
  public:
    Runtime(const TemplateLimits& limits, int64_t now_seconds)
        : limits_(limits), now_seconds_(now_seconds), heap_(limits.memory_bytes) {}
    virtual ~Runtime() = default;
    Runtime(const Runtime&) = delete;
    Runtime& operator=(const Runtime&) = delete;

    // Counts `work` units (one node evaluated, one item pulled) and fails when a limit is passed.
    Result<void> step(int64_t work = 1) {
        steps_ += work;
        if (steps_ > limits_.steps || heap_.is_over_limit()) [[unlikely]]
            return over_limit();
        return {};
    }
    // Counts work proportional to bytes read or written: 64 bytes are about one step.
    Result<void> step_bytes(int64_t bytes) { return step(1 + bytes / 64); }
    // To be called before something of `bytes` is built.
    Result<void> reserve(int64_t bytes);

    // A string is charged by its size. All of these fail only if a limit is exceeded.
    Result<Value> string(std::string text, bool markup = false);
    Result<Value> list(std::vector<Value> items) { return sequence(Kind::kList, std::move(items)); }
    Result<Value> tuple(std::vector<Value> items) { return sequence(Kind::kTuple, std::move(items)); }
    Value dict() { return Value(heap_.make<Dict>(0)); }
    Value undefined(std::string message);
    Value generator(std::unique_ptr<Iterator> source);
    Value function(const Builtin& builtin, Value self = Value());

    // Calls a function, a method, a macro, a loop or a joiner.
    virtual Result<Value> call(const Value& callee, Arguments arguments) = 0;

    Heap& heap() { return heap_; }
    const TemplateLimits& limits() const { return limits_; }
    int64_t now_seconds() const { return now_seconds_; }

  private:
    friend class Nesting;
    Result<Value> sequence(Kind kind, std::vector<Value> items);
    Result<void> over_limit() const;

    TemplateLimits limits_;
    int64_t now_seconds_;
    Heap heap_;
    int64_t steps_ = 0;
    int nesting_ = 0;
    const char* stack_start_ = static_cast<const char*>(__builtin_frame_address(0));
};

// One level of recursion of the interpreter itself. A macro call takes about eight levels (its blocks and expressions),
// so the bound is ten times TemplateLimits::depth: at 200 that is below 2 MiB of stack in a release build. Builds with
// larger frames (sanitizers: about 5 KiB a level) are held by the bytes of stack instead; a thread has 8 MiB.
class Nesting {
  public:
    explicit Nesting(Runtime& runtime) : runtime_(runtime) { ++runtime.nesting_; }
    ~Nesting() { --runtime_.nesting_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;
    Result<void> check() const;

  private:
    Runtime& runtime_;
};

}  // namespace invar::jinja
