#include "proof/audit/block_scales.h"

#include <fmt/format.h>

#include <cmath>
#include <cstddef>
#include <cstring>

#include "arithmetic/float_types.h"

namespace invar {

ScaleValue read_scale(const ScaleField& field, const std::byte* block) {
    const auto low = std::to_integer<uint32_t>(block[field.offset]);
    const auto two_bytes = [&] {
        return static_cast<uint16_t>(low | std::to_integer<uint32_t>(block[field.offset + 1]) << 8);
    };
    ScaleValue scale{.bits = low};
    switch (field.kind) {
        case ScaleKind::f16: {
            scale.bits = two_bytes();
            scale.value = f16_to_f32(two_bytes());
            scale.reserved = !std::isfinite(scale.value);
            const bool subnormal = (scale.bits & 0x7C00) == 0;
            scale.subnormal_steps = subnormal ? scale.bits & 0x3FF : 0;
            break;
        }
        case ScaleKind::bf16:
            scale.bits = two_bytes();
            scale.value = bf16_to_f32(two_bytes());
            scale.reserved = !std::isfinite(scale.value);
            break;
        case ScaleKind::f32:
            std::memcpy(&scale.bits, block + field.offset, 4);
            std::memcpy(&scale.value, block + field.offset, 4);
            scale.reserved = !std::isfinite(scale.value);
            break;
        case ScaleKind::e8m0:
            scale.value = 2.0f * e8m0_half_to_f32(static_cast<uint8_t>(low));
            scale.reserved = low == 0xFF;
            break;
        case ScaleKind::ue4m3:
            scale.value = ue4m3_to_f32(static_cast<uint8_t>(low));
            scale.reserved = low >= 0x7F;
            break;
    }
    return scale;
}

std::string describe(const ScaleField& field, const ScaleValue& value) {
    if (field.kind == ScaleKind::f32) return fmt::format("{} = 0x{:08X} ({:g})", field.name, value.bits, value.value);
    if (is_ieee(field.kind)) return fmt::format("{} = 0x{:04X} ({:g})", field.name, value.bits, value.value);
    const char* why = !value.reserved ? "" : field.kind == ScaleKind::e8m0 ? ", a NaN in E8M0" : ", no E4M3 scale";
    return fmt::format("{} = 0x{:02X} (read as {:g}{})", field.name, value.bits, value.value, why);
}

}  // namespace invar
