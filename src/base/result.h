// How a failure travels. Result<T> is a value or an Error; an Error has a kind and one sentence for the user that says
// what went wrong, where, and what to do. Printing is decided in src/app; our own bugs use check.h; exit codes follow
// from the kind in error_kind.h.
#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace invar {

enum class ErrorKind : uint8_t {
    bad_input,      // a request, an option or a file says something that cannot be; the default
    not_found,      // a file or a name is not there
    unsupported,    // what was asked for is possible elsewhere, but this program or machine lacks it
    io,             // the system refused to read, write, map or start something
    out_of_memory,  // memory does not suffice, and waiting does not help
    busy,           // memory or places are taken by others for now: the same request may succeed later
    numeric,        // a NaN or an infinity was computed
    device_lost,    // a device failed; what it had computed is void
    internal,       // two parts of this program disagree
};

struct Error {
    ErrorKind kind = ErrorKind::bad_input;
    std::string message;  // one sentence, no trailing newline
};

template <class T>
using Result = tl::expected<T, Error>;

// return fail("{}: tensor '{}' ends at byte {} but the file has {}", path, name, end, size);
template <class... Args>
tl::unexpected<Error> fail(fmt::format_string<Args...> format, Args&&... args) {
    return tl::unexpected<Error>(Error{.message = fmt::format(format, std::forward<Args>(args)...)});
}

// return fail(ErrorKind::out_of_memory, "no memory for {} bytes of scratch", bytes);
template <class... Args>
tl::unexpected<Error> fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
    return tl::unexpected<Error>(Error{.kind = kind, .message = fmt::format(format, std::forward<Args>(args)...)});
}

// Passes another result's error on.
template <class T>
tl::unexpected<Error> pass_on(Result<T>&& result) {
    return tl::unexpected<Error>(std::move(result).error());
}

}  // namespace invar

#define INVAR_CONCAT_INNER(a, b) a##b
#define INVAR_CONCAT(a, b) INVAR_CONCAT_INNER(a, b)

// TRY(expression): leaves the function with the error, if there is one. The value, if any, is dropped.
#define TRY(...)                                                       \
    do {                                                               \
        if (auto try_result = (__VA_ARGS__); !try_result) [[unlikely]] \
            return ::invar::pass_on(std::move(try_result));            \
    } while (false)

// TRY_ASSIGN(auto tensor, find(name)): declares or assigns the value, or leaves the function with the error.
#define TRY_ASSIGN(target, ...) TRY_ASSIGN_IMPL(INVAR_CONCAT(try_result_, __LINE__), target, __VA_ARGS__)
#define TRY_ASSIGN_IMPL(result, target, ...)        \
    auto result = (__VA_ARGS__);                    \
    if (!result) [[unlikely]]                       \
        return ::invar::pass_on(std::move(result)); \
    target = std::move(*result)
