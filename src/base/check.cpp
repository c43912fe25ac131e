#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace invar {

void check_failed(const char* condition, const char* why, const char* file, int line) {
    std::fprintf(stderr, "invar: internal error at %s:%d: %s (%s); please report it\n", file, line, why, condition);
    std::abort();
}

}  // namespace invar
