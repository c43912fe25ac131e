// Where the scales lie inside the blocks of each weight format, for checks that look at them rather than at weights.
// The meaning of the bits is formats/NAME/NAME.h's; this is a table of offsets, taken from those structs.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "formats/format.h"

namespace invar {

enum class ScaleKind : uint8_t { f16, e8m0, ue4m3 };

struct ScaleField {
    std::string_view name;  // as in the drawing of the format: "d", "dmin", "s2"
    ScaleKind kind = ScaleKind::f16;
    int offset = 0;  // bytes from the start of the block
    int group = 0;   // 0: factors of the codes; 1: minima. Scales of a group are compared with each other
};

// The scale fields of a block; none for float formats.
std::span<const ScaleField> scale_fields(const Format& format);

// What a field of a block holds.
struct ScaleValue {
    uint16_t bits = 0;
    float value = 0;  // as the decoder reads it (docs/formats.md)
    // Not a number in the text that defines the type, whatever a decoder makes of it: binary16 infinity and NaN, E8M0
    // 255, E4M3 with all magnitude bits set, and bytes with a sign bit where scales have none.
    bool reserved = false;
    // The steps of a subnormal binary16, 1 to 1023; 0 for every other value.
    int subnormal_steps = 0;
};
ScaleValue read_scale(const ScaleField& field, const std::byte* block);
std::string describe(const ScaleField& field, const ScaleValue& value);  // "d = 0x7C00 (inf)"

}  // namespace invar
