// Splits and joins runs of codes that share bytes, as blocks of files hold them: nibbles, fifth bits, pairs of bits.
// The split() and join() of the format folders use it. The loops are plain, over 16 or 32 bytes; the compiler turns
// them into vector code.
#pragma once

#include <cstdint>
#include <cstring>

namespace invar::code_runs {

// The low nibbles of `count` bytes hold the first `count` codes, the high nibbles the next `count`.
template <int kCount>
inline void split_nibbles(const uint8_t* nibbles, uint8_t* codes) {
    for (int i = 0; i < kCount; ++i) {
        codes[i] = nibbles[i] & 15;
        codes[kCount + i] = nibbles[i] >> 4;
    }
}

template <int kCount>
inline void join_nibbles(const uint8_t* codes, uint8_t* nibbles) {
    for (int i = 0; i < kCount; ++i) {
        nibbles[i] = static_cast<uint8_t>((codes[i] & 15) | codes[kCount + i] << 4);
    }
}

// Neighbouring codes share a byte, the first in the low nibble.
template <int kCount>
inline void split_neighbours(const uint8_t* nibbles, uint8_t* codes) {
    for (int i = 0; i < kCount; ++i) {
        codes[2 * i] = nibbles[i] & 15;
        codes[2 * i + 1] = nibbles[i] >> 4;
    }
}

template <int kCount>
inline void join_neighbours(const uint8_t* codes, uint8_t* nibbles) {
    for (int i = 0; i < kCount; ++i) nibbles[i] = static_cast<uint8_t>((codes[2 * i] & 15) | codes[2 * i + 1] << 4);
}

// The fifth bits of 32 codes, one bit each in 4 bytes. One product spreads eight bits to bytes: bit i lands in byte i.
inline void split_tops(const uint8_t tops[4], uint8_t codes[32]) {
    for (int byte = 0; byte < 4; ++byte) {
        const uint64_t copies = tops[byte] * 0x0101010101010101u;
        const uint64_t picked = copies & 0x8040201008040201u;  // byte i keeps bit i
        const uint64_t top = ((picked + 0x7F7F7F7F7F7F7F7Fu) | picked) >> 7 & 0x0101010101010101u;  // not zero -> 1
        uint64_t low = 0;
        std::memcpy(&low, codes + 8 * byte, 8);
        low |= top << 4;
        std::memcpy(codes + 8 * byte, &low, 8);
    }
}

inline void join_tops(const uint8_t codes[32], uint8_t tops[4]) {
    for (int byte = 0; byte < 4; ++byte) {
        int value = 0;
        for (int i = 0; i < 8; ++i) value |= (codes[8 * byte + i] >> 4 & 1) << i;
        tops[byte] = static_cast<uint8_t>(value);
    }
}

// Bit b of byte i of 32 bytes belongs to the code of column 32 b + i, at bit `shift` of it.
inline void add_bits(const uint8_t tops[32], int shift, uint8_t codes[256]) {
    for (int b = 0; b < 8; ++b) {
        for (int i = 0; i < 32; ++i) codes[32 * b + i] |= static_cast<uint8_t>((tops[i] >> b & 1) << shift);
    }
}

inline void take_bits(const uint8_t codes[256], int shift, uint8_t tops[32]) {
    std::memset(tops, 0, 32);
    for (int b = 0; b < 8; ++b) {
        for (int i = 0; i < 32; ++i) tops[i] |= static_cast<uint8_t>((codes[32 * b + i] >> shift & 1) << b);
    }
}

// Two bits of each code, at bit `shift` of the code. The code of column 128 h + 32 t + i has bits 2t, 2t + 1 of
// crumbs[32 h + i].
inline void add_crumbs(const uint8_t crumbs[64], int shift, uint8_t codes[256]) {
    for (int h = 0; h < 2; ++h) {
        for (int t = 0; t < 4; ++t) {
            for (int i = 0; i < 32; ++i) {
                codes[128 * h + 32 * t + i] |= static_cast<uint8_t>((crumbs[32 * h + i] >> (2 * t) & 3) << shift);
            }
        }
    }
}

inline void take_crumbs(const uint8_t codes[256], int shift, uint8_t crumbs[64]) {
    std::memset(crumbs, 0, 64);
    for (int h = 0; h < 2; ++h) {
        for (int t = 0; t < 4; ++t) {
            for (int i = 0; i < 32; ++i) {
                crumbs[32 * h + i] |= static_cast<uint8_t>((codes[128 * h + 32 * t + i] >> shift & 3) << (2 * t));
            }
        }
    }
}

}  // namespace invar::code_runs
