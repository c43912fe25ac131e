#include "proof/audit/block_scales.h"

#include <fmt/format.h>

#include <cmath>
#include <cstddef>

#include "arithmetic/float_types.h"
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

namespace invar {
namespace {

template <class Block>
constexpr ScaleField kScale = {"d", ScaleKind::f16, offsetof(Block, d), 0};
template <class Block>
constexpr ScaleField kOnly[] = {kScale<Block>};
template <class Block>
constexpr ScaleField kWithMinimum[] = {kScale<Block>, {"m", ScaleKind::f16, offsetof(Block, m), 1}};
template <class Block>
constexpr ScaleField kWithMinima[] = {kScale<Block>, {"dmin", ScaleKind::f16, offsetof(Block, dmin), 1}};
constexpr ScaleField kMxfp4[] = {{"e", ScaleKind::e8m0, offsetof(mxfp4::Block, e), 0}};
constexpr ScaleField kNvfp4[] = {{"s0", ScaleKind::ue4m3, offsetof(nvfp4::Block, scales), 0},
                                 {"s1", ScaleKind::ue4m3, offsetof(nvfp4::Block, scales) + 1, 0},
                                 {"s2", ScaleKind::ue4m3, offsetof(nvfp4::Block, scales) + 2, 0},
                                 {"s3", ScaleKind::ue4m3, offsetof(nvfp4::Block, scales) + 3, 0}};

}  // namespace

std::span<const ScaleField> scale_fields(const Format& format) {
    switch (format.id) {
        case FormatId::f32:
        case FormatId::f16:
        case FormatId::bf16:
            return {};
        case FormatId::q4_0:
            return kOnly<q4_0::Block>;
        case FormatId::q4_1:
            return kWithMinimum<q4_1::Block>;
        case FormatId::q5_0:
            return kOnly<q5_0::Block>;
        case FormatId::q5_1:
            return kWithMinimum<q5_1::Block>;
        case FormatId::q8_0:
            return kOnly<q8_0::Block>;
        case FormatId::q2_k:
            return kWithMinima<q2_k::Block>;
        case FormatId::q3_k:
            return kOnly<q3_k::Block>;
        case FormatId::q4_k:
            return kWithMinima<q4_k::Block>;
        case FormatId::q5_k:
            return kWithMinima<q5_k::Block>;
        case FormatId::q6_k:
            return kOnly<q6_k::Block>;
        case FormatId::iq4_nl:
            return kOnly<iq4_nl::Block>;
        case FormatId::iq4_xs:
            return kOnly<iq4_xs::Block>;
        case FormatId::mxfp4:
            return kMxfp4;
        case FormatId::nvfp4:
            return kNvfp4;
    }
    return {};
}

ScaleValue read_scale(const ScaleField& field, const std::byte* block) {
    const auto low = std::to_integer<uint16_t>(block[field.offset]);
    ScaleValue scale{.bits = low};
    switch (field.kind) {
        case ScaleKind::f16: {
            scale.bits = static_cast<uint16_t>(low | std::to_integer<uint16_t>(block[field.offset + 1]) << 8);
            scale.value = f16_to_f32(scale.bits);
            scale.reserved = !std::isfinite(scale.value);
            const bool subnormal = (scale.bits & 0x7C00) == 0;
            scale.subnormal_steps = subnormal ? scale.bits & 0x3FF : 0;
            break;
        }
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
    if (field.kind == ScaleKind::f16) return fmt::format("{} = 0x{:04X} ({:g})", field.name, value.bits, value.value);
    const char* why = !value.reserved ? "" : field.kind == ScaleKind::e8m0 ? ", a NaN in E8M0" : ", no E4M3 scale";
    return fmt::format("{} = 0x{:02X} (read as {:g}{})", field.name, value.bits, value.value, why);
}

}  // namespace invar
