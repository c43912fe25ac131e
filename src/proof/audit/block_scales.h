// Reads the scales inside blocks of weights, for checks that look at scales rather than at weights. Each format's
// folder says where they lie (Format::scales, formats/description.h).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "formats/format.h"

namespace invar {

// Whether the type has infinities and NaN of its own; otherwise single bytes are reserved.
constexpr bool is_ieee(ScaleKind kind) {
    return kind == ScaleKind::f16 || kind == ScaleKind::bf16 || kind == ScaleKind::f32;
}

// The value of a scale field of a block.
struct ScaleValue {
    uint32_t bits = 0;
    float value = 0;  // as the decoder reads it (docs/formats.md)
    // The definition of the type makes it no number, whatever a decoder reads: infinity and NaN, E8M0 255, E4M3 with
    // all magnitude bits set, and a set sign bit in types whose scales have none.
    bool reserved = false;
    // The steps of a subnormal binary16, 1 to 1023; 0 for any other value.
    int subnormal_steps = 0;
};
ScaleValue read_scale(const ScaleField& field, const std::byte* block);
std::string describe(const ScaleField& field, const ScaleValue& value);  // "d = 0x7C00 (inf)"

}  // namespace invar
