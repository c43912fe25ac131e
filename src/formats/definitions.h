// Includes every format's header (Block, weight(), accumulate(), kDescription, ...) and gives the description of a
// FormatId as a constant. It is for code that is generated from the list: the table of Formats, the layouts, the
// kernels. The list itself is formats/list.h.
#pragma once

#define INVAR_FORMAT_DEFINITIONS
#include "formats/list.h"
//
#include "formats/description.h"

namespace invar {

constexpr Description describe(FormatId id) {
    switch (id) {
#define INVAR_CASE(name) \
    case FormatId::name: \
        return name::kDescription;
        INVAR_FORMATS(INVAR_CASE)
#undef INVAR_CASE
    }
    return {};
}

// A format's Block type: BlockOf<FormatId::q4_0>.
namespace format_detail {
template <FormatId kId>
struct BlockType;
#define INVAR_BLOCK(name)                   \
    template <>                             \
    struct BlockType<FormatId::name> {      \
        using Block = ::invar::name::Block; \
    };
INVAR_FORMATS(INVAR_BLOCK)
#undef INVAR_BLOCK
}  // namespace format_detail
template <FormatId kId>
using BlockOf = typename format_detail::BlockType<kId>::Block;

}  // namespace invar
