// Little-endian numbers inside weight blocks. Blocks lie at any address (a Q8_0 row is a run of 34-byte blocks), so
// every block struct is made of bytes and has alignment 1; nothing in formats/ reads through a wider pointer.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "arithmetic/float_types.h"

namespace invar {

struct StoredF16 {
    uint8_t low = 0, high = 0;

    uint16_t bits() const { return static_cast<uint16_t>(low | high << 8); }
    float value() const { return f16_to_f32(bits()); }
    static StoredF16 from_bits(uint16_t bits) {
        return {static_cast<uint8_t>(bits & 0xFF), static_cast<uint8_t>(bits >> 8)};
    }
};
static_assert(sizeof(StoredF16) == 2 && alignof(StoredF16) == 1);

struct StoredBF16 {
    uint8_t low = 0, high = 0;

    uint16_t bits() const { return static_cast<uint16_t>(low | high << 8); }
    float value() const { return bf16_to_f32(bits()); }
    static StoredBF16 from_bits(uint16_t bits) {
        return {static_cast<uint8_t>(bits & 0xFF), static_cast<uint8_t>(bits >> 8)};
    }
};
static_assert(sizeof(StoredBF16) == 2 && alignof(StoredBF16) == 1);

struct StoredF32 {
    uint8_t bytes[4] = {};

    float value() const {
        float value = 0;
        std::memcpy(&value, bytes, 4);
        return value;
    }
    static StoredF32 from(float value) {
        StoredF32 stored;
        std::memcpy(stored.bytes, &value, 4);
        return stored;
    }
};
static_assert(sizeof(StoredF32) == 4 && alignof(StoredF32) == 1);

}  // namespace invar
