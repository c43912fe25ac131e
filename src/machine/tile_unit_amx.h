// The AMX tile instructions, as the TileUnit of linear_tiles_amx_body.h. They are written as assembly because the
// compilers' intrinsics take only literal tile numbers. isa.cpp asks the system for permission to use them. Tests on
// machines without AMX use the emulation in tests/cpu/linear_tile_unit_emulated.h.
#pragma once

#include <cstdint>

namespace invar {
namespace {

struct TileUnit {
    struct Configuration {  // as LDTILECFG reads it
        uint8_t palette = 1, start_row = 0, reserved[14] = {};
        uint16_t row_bytes[16] = {};
        uint8_t rows[16] = {};
    };
    static_assert(sizeof(Configuration) == 64);

    // Sets up six tiles for this thread until release(): 0 and 3 hold dots [tokens][rows], 1 and 4 activations
    // [tokens][columns], 2 and 5 weights [columns / 4][rows][4].
    static void configure(int tokens, int columns, int rows) {
        alignas(64) Configuration c;
        for (int tile = 0; tile < 6; tile += 3) {
            c.rows[tile] = c.rows[tile + 1] = static_cast<uint8_t>(tokens);
            c.rows[tile + 2] = static_cast<uint8_t>(columns / 4);
            c.row_bytes[tile] = c.row_bytes[tile + 2] = static_cast<uint16_t>(4 * rows);
            c.row_bytes[tile + 1] = static_cast<uint16_t>(columns);
        }
        __asm__ volatile("ldtilecfg %0" ::"m"(c));
    }
    static void release() { __asm__ volatile("tilerelease" ::: "memory"); }

    template <int kTile>
    [[gnu::always_inline]] static void zero() {
        __asm__ volatile("tilezero %%tmm%c0" ::"i"(kTile));
    }
    template <int kTile>
    [[gnu::always_inline]] static void load(const void* first_row, int64_t row_stride) {
        __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(first_row), "r"(row_stride), "i"(kTile) : "memory");
    }
    template <int kTile>
    [[gnu::always_inline]] static void store(void* first_row, int64_t row_stride) {
        __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(first_row), "r"(row_stride), "i"(kTile) : "memory");
    }
    // sums[m][n] += sum over k of a[m][k] b[k / 4][4 n + k % 4], of signed bytes, exact in int32.
    template <int kSums, int kA, int kB>
    [[gnu::always_inline]] static void multiply_signed() {
        __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSums), "i"(kA), "i"(kB));
    }
};

}  // namespace
}  // namespace invar
