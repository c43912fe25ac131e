// The scales inside the blocks of weights, for checks that look at them rather than at weights. Where they lie is said
// by each format's folder (Format::scales, formats/description.h).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "formats/format.h"

namespace invar {

// Types with infinities and NaN of their own, as opposed to a byte that is reserved.
constexpr bool is_ieee(ScaleKind kind) {
    return kind == ScaleKind::f16 || kind == ScaleKind::bf16 || kind == ScaleKind::f32;
}

// What a field of a block holds.
struct ScaleValue {
    uint32_t bits = 0;
    float value = 0;  // as the decoder reads it (docs/formats.md)
    // Not a number in the text that defines the type, whatever a decoder makes of it: infinity and NaN, E8M0
    // 255, E4M3 with all magnitude bits set, and bytes with a sign bit where scales have none.
    bool reserved = false;
    // The steps of a subnormal binary16, 1 to 1023; 0 for every other value.
    int subnormal_steps = 0;
};
ScaleValue read_scale(const ScaleField& field, const std::byte* block);
std::string describe(const ScaleField& field, const ScaleValue& value);  // "d = 0x7C00 (inf)"

}  // namespace invar
