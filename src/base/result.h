// How a failure travels: Result<T> is a value or an Error, and an Error is one sentence for the user that says what,
// where and what to do. It does not decide what is printed or how the program exits (src/app does), and it is not for
// our own bugs (see check.h).
#pragma once

#include <fmt/core.h>

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace invar {

struct Error {
    std::string message;  // one sentence, no trailing newline
};

template <class T>
using Result = tl::expected<T, Error>;

// return fail("{}: tensor '{}' ends at byte {} but the file has {}", path, name, end, size);
template <class... Args>
tl::unexpected<Error> fail(fmt::format_string<Args...> format, Args&&... args) {
    return tl::unexpected<Error>(Error{fmt::format(format, std::forward<Args>(args)...)});
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
