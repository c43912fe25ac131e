// The small floating-point types of weight files, as exact scalar functions on their bits: widening to binary32 (always
// exact) and narrowing from binary32 (round to nearest, ties to even). Plain integer and float operations, constexpr,
// the same on every machine. It does not decide what a scale byte of a format means; formats/NAME/NAME.h does.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

namespace invar {

namespace float_types_detail {

// v / 2^drop rounded to the nearest integer, ties to even; 1 <= drop <= 31.
constexpr uint32_t shift_right_to_even(uint32_t v, int drop) {
    const uint32_t half = uint32_t{1} << (drop - 1);
    const uint32_t odd = (v >> drop) & 1;
    return (v + (half - 1) + odd) >> drop;  // no overflow: v is at most 25 bits wide here
}

// 2^exponent for -126 <= exponent <= 127.
constexpr float power_of_two(int exponent) { return std::bit_cast<float>(static_cast<uint32_t>(exponent + 127) << 23); }

}  // namespace float_types_detail

// IEEE 754 binary16: 1 sign, 5 exponent (bias 15), 10 mantissa bits. Infinities and NaN stay what they are.
constexpr float f16_to_f32(uint16_t h) {
    const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
    const uint32_t exponent = (h >> 10) & 0x1Fu;
    const uint32_t mantissa = h & 0x3FFu;
    if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24, exact in binary32
        const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
        return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
    }
    if (exponent == 31) {
        const uint32_t quiet = mantissa != 0 ? 0x400000u : 0;
        return std::bit_cast<float>(sign | 0x7F800000u | quiet | mantissa << 13);
    }
    return std::bit_cast<float>(sign | (exponent + (127 - 15)) << 23 | mantissa << 13);
}

// Magnitudes from 65520 on become infinity, as IEEE 754 says. NaN becomes a quiet NaN with the top payload bits.
constexpr uint16_t f32_to_f16(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
    const uint32_t magnitude = bits & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00u | (magnitude >> 13 & 0x3FFu));
    if (magnitude >= 0x477FF000u) return static_cast<uint16_t>(sign | 0x7C00u);  // 65520 = 65504 + half a step
    if (magnitude >= 0x38800000u) {                                              // 2^-14: a normal binary16
        const uint32_t rebiased = magnitude - (static_cast<uint32_t>(127 - 15) << 23);
        return static_cast<uint16_t>(sign | float_types_detail::shift_right_to_even(rebiased, 13));
    }
    if (magnitude < 0x33000000u) return sign;  // below 2^-25, half of the smallest subnormal
    const int exponent = static_cast<int>(magnitude >> 23);
    const uint32_t significand = (magnitude & 0x7FFFFFu) | 0x800000u;
    // In steps of 2^-24: significand * 2^(exponent - 127 - 23 + 24) = significand >> (126 - exponent), 14 to 24 places.
    return static_cast<uint16_t>(sign | float_types_detail::shift_right_to_even(significand, 126 - exponent));
}

// bfloat16: the upper half of a binary32.
constexpr float bf16_to_f32(uint16_t h) { return std::bit_cast<float>(static_cast<uint32_t>(h) << 16); }

constexpr uint16_t f32_to_bf16(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);  // NaN stays NaN
    return static_cast<uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

// E4M3FN (OCP 8-bit floating point): bias 7, no infinities, NaN only at 0x7F and 0xFF, largest 448, subnormal step
// 2^-9.
constexpr float e4m3_to_f32(uint8_t b) {
    const uint32_t sign = static_cast<uint32_t>(b & 0x80u) << 24;
    const uint32_t exponent = (b >> 3) & 0xFu;
    const uint32_t mantissa = b & 7u;
    if (exponent == 15 && mantissa == 7) return std::bit_cast<float>(sign | 0x7FC00000u);
    if (exponent == 0) {
        const float magnitude = static_cast<float>(mantissa) * 0x1p-9f;
        return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
    }
    return std::bit_cast<float>(sign | (exponent + (127 - 7)) << 23 | mantissa << 20);
}

// Saturating: magnitudes above 448 and infinities become +-448. NaN becomes 0x7F.
constexpr uint8_t f32_to_e4m3(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const uint8_t sign = static_cast<uint8_t>(bits >> 24 & 0x80u);
    const uint32_t magnitude = bits & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u) return 0x7F;
    if (magnitude >= 0x43E00000u) return static_cast<uint8_t>(sign | 0x7Eu);  // 448
    if (magnitude >= 0x3C800000u) {                                           // 2^-6: a normal E4M3
        const uint32_t rebiased = magnitude - (static_cast<uint32_t>(127 - 7) << 23);
        return static_cast<uint8_t>(sign | float_types_detail::shift_right_to_even(rebiased, 20));
    }
    if (magnitude < 0x3A800000u) return sign;  // below 2^-10, half of the smallest subnormal
    const int exponent = static_cast<int>(magnitude >> 23);
    const uint32_t significand = (magnitude & 0x7FFFFFu) | 0x800000u;
    // In steps of 2^-9: significand * 2^(exponent - 127 - 23 + 9) = significand >> (141 - exponent), 21 to 24 places.
    return static_cast<uint8_t>(sign | float_types_detail::shift_right_to_even(significand, 141 - exponent));
}

// The unsigned E4M3 scale byte of GGUF's NVFP4: bit 7 is ignored, and the byte 0x7F (NaN in E4M3FN) reads as 0. The
// byte 0xFF reads as 480. This is how the GGUF readers take those bytes; an encoder writes 0x00 to 0x7E only.
constexpr float ue4m3_to_f32(uint8_t b) {
    if (b == 0x7F) return 0.0f;
    const uint32_t exponent = (b >> 3) & 0xFu;
    const uint32_t mantissa = b & 7u;
    if (exponent == 0) return static_cast<float>(mantissa) * 0x1p-9f;
    return std::bit_cast<float>((exponent + (127 - 7)) << 23 | mantissa << 20);
}

// E8M0 (OCP MX): 2^(b - 127). The byte 0xFF is NaN in the OCP text.
constexpr float e8m0_to_f32(uint8_t b) {
    if (b == 0xFF) return std::numeric_limits<float>::quiet_NaN();
    if (b == 0) return 0x1p-127f;
    return std::bit_cast<float>(static_cast<uint32_t>(b) << 23);
}

// Half of an E8M0 scale, 2^(b - 128): the factor of codes that are stored doubled (MXFP4). Finite for every byte: 0xFF
// reads as 2^127, as the GGUF readers take it.
constexpr float e8m0_half_to_f32(uint8_t b) {
    if (b < 2) return std::bit_cast<float>(uint32_t{0x00200000} << b);  // 2^-128 and 2^-127 are subnormal
    return std::bit_cast<float>(static_cast<uint32_t>(b - 1) << 23);
}

}  // namespace invar
