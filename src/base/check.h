// CHECK(condition, "why it must hold") is for our own bugs only. It prints the place and ends the program. Anything
// that a user, a file or a request can cause is an Error instead (result.h).
#pragma once

namespace invar {

[[noreturn]] void check_failed(const char* condition, const char* why, const char* file, int line);

}  // namespace invar

#define CHECK(condition, why)                                           \
    do {                                                                \
        if (!(condition)) [[unlikely]]                                  \
            ::invar::check_failed(#condition, why, __FILE__, __LINE__); \
    } while (false)
