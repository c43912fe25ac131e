// Reads CPUID. That the system saves the zmm registers is a question of the tier.
#include "machine/avx512_vbmi.h"

#include <cpuid.h>

namespace invar {

bool has_avx512_vbmi() {
    static const bool has = [] {
        unsigned a = 0, b = 0, c = 0, d = 0;
        return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (c >> 1 & 1) != 0;
    }();
    return has;
}

}  // namespace invar
