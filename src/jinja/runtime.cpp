// Counts against the limits of a rendering and makes values. The error sentences of exceeded limits are here.
#include "jinja/runtime.h"

namespace invar::jinja {

Result<void> Runtime::over_limit() const {
    if (heap_.is_over_limit())
        return fail("the template needs more than {} bytes of memory; raise the limit or fix the template",
                    limits_.memory_bytes);
    return fail("the template did not finish within {} steps; raise the limit or fix the template", limits_.steps);
}

Result<void> Runtime::reserve(int64_t bytes) {
    if (bytes < 0 || !heap_.has_room_for(bytes))
        return fail("the template needs more than {} bytes of memory; raise the limit or fix the template",
                    limits_.memory_bytes);
    return step_bytes(bytes);
}

Result<Value> Runtime::string(std::string text, bool markup) {
    const int64_t size = static_cast<int64_t>(text.size());
    TRY(reserve(size));
    return Value(heap_.make<String>(size, std::move(text), markup));
}

Result<Value> Runtime::sequence(Kind kind, std::vector<Value> items) {
    const int64_t bytes = static_cast<int64_t>(items.size() * sizeof(Value));
    TRY(reserve(bytes));
    return Value(heap_.make<Sequence>(bytes, kind, std::move(items)));
}

Value Runtime::undefined(std::string message) {
    const int64_t size = static_cast<int64_t>(message.size());
    return Value(heap_.make<Undefined>(size, std::move(message)));
}

Value Runtime::generator(std::unique_ptr<Iterator> source) {
    constexpr int64_t kIteratorBytes = 128;  // roughly the size of the largest iterator
    return Value(heap_.make<Generator>(kIteratorBytes, std::move(source)));
}

Value Runtime::function(const Builtin& builtin, Value self) {
    return Value(heap_.make<Function>(0, builtin, std::move(self)));
}

Result<void> Nesting::check() const {
    constexpr int64_t kMostStackBytes = int64_t{4} << 20;
    const int limit = 10 * runtime_.limits_.depth;
    const int64_t stack = runtime_.stack_start_ - static_cast<const char*>(__builtin_frame_address(0));
    if (runtime_.nesting_ > limit || stack > kMostStackBytes)
        return fail("the template nests deeper than {} levels (depth limit {}); is a macro calling itself?", limit,
                    runtime_.limits_.depth);
    return {};
}

}  // namespace invar::jinja
