// The one list of weight formats. A new format is a folder formats/NAME/, a line here, and the include of its header
// below. The table of Formats, the packed layouts, the kernels of every instruction set and of CUDA, the audit and the
// tests are made from this list and from each folder's description (description.h). The meaning of a format:
// NAME/NAME.h; how to add one: docs/adding_a_format.md. Most files need only an enumerator and include this header; the
// few that need the blocks include formats/definitions.h, which asks for the second half.
#ifndef INVAR_FORMATS

// The lines are in the order of FormatId. Nothing may depend on it: tables are made by FormatTable.
#define INVAR_FORMATS(FORMAT) \
    FORMAT(f32)               \
    FORMAT(f16)               \
    FORMAT(bf16)              \
    FORMAT(f8_e4m3)           \
    FORMAT(f8_e4m3_b128)      \
    FORMAT(q4_0)              \
    FORMAT(q4_1)              \
    FORMAT(q5_0)              \
    FORMAT(q5_1)              \
    FORMAT(q8_0)              \
    FORMAT(q2_k)              \
    FORMAT(q3_k)              \
    FORMAT(q4_k)              \
    FORMAT(q5_k)              \
    FORMAT(q6_k)              \
    FORMAT(iq4_nl)            \
    FORMAT(iq4_xs)            \
    FORMAT(mxfp4)             \
    FORMAT(nvfp4)             \
    FORMAT(int4_g32)          \
    FORMAT(int4_g128)         \
    FORMAT(int4_g128_f16)

#include <cstdint>

namespace invar {

#define INVAR_ENUMERATOR(name) name,
enum class FormatId : uint8_t { INVAR_FORMATS(INVAR_ENUMERATOR) };
#undef INVAR_ENUMERATOR

#define INVAR_ONE(name) +1
inline constexpr int kFormatCount = 0 INVAR_FORMATS(INVAR_ONE);
#undef INVAR_ONE

// One entry for each format, found by its FormatId. `make` is a template lambda that is called for each format in turn
// (make.operator()<FormatId::q4_0>()), so that no entry can be missing or stand in another's place.
template <class Entry>
struct FormatTable {
    Entry entries[kFormatCount];
};
template <class Entry, class Make>
constexpr FormatTable<Entry> format_table(Make make) {
#define INVAR_ENTRY(name) make.template operator()<FormatId::name>(),
    return {{INVAR_FORMATS(INVAR_ENTRY)}};
#undef INVAR_ENTRY
}

// Calls `use` with the format as a constant: use.operator()<FormatId::q4_0>().
template <class Use>
constexpr decltype(auto) with_format(FormatId id, Use&& use) {
    switch (id) {
#define INVAR_CASE(name) \
    case FormatId::name: \
        return use.template operator()<FormatId::name>();
        INVAR_FORMATS(INVAR_CASE)
#undef INVAR_CASE
    }
    __builtin_unreachable();  // a FormatId is one of the enumerators
}

}  // namespace invar
#endif  // INVAR_FORMATS

#if defined(INVAR_FORMAT_DEFINITIONS) && !defined(INVAR_FORMAT_DEFINITIONS_READ)
#define INVAR_FORMAT_DEFINITIONS_READ
#include "formats/bf16/bf16.h"
#include "formats/f16/f16.h"
#include "formats/f32/f32.h"
#include "formats/f8_e4m3/f8_e4m3.h"
#include "formats/f8_e4m3_b128/f8_e4m3_b128.h"
#include "formats/int4_g128/int4_g128.h"
#include "formats/int4_g128_f16/int4_g128_f16.h"
#include "formats/int4_g32/int4_g32.h"
#include "formats/iq4_nl/iq4_nl.h"
#include "formats/iq4_xs/iq4_xs.h"
#include "formats/mxfp4/mxfp4.h"
#include "formats/nvfp4/nvfp4.h"
#include "formats/q2_k/q2_k.h"
#include "formats/q3_k/q3_k.h"
#include "formats/q4_0/q4_0.h"
#include "formats/q4_1/q4_1.h"
#include "formats/q4_k/q4_k.h"
#include "formats/q5_0/q5_0.h"
#include "formats/q5_1/q5_1.h"
#include "formats/q5_k/q5_k.h"
#include "formats/q6_k/q6_k.h"
#include "formats/q8_0/q8_0.h"
#endif
