// The TileUnit of cpu/linear_tiles_amx_body.h in plain C++, after Intel's manual. It does what TILELOADD, TDPBSSD and
// TILESTORED do with the configured shapes; a load reads nothing outside its shape. It counts uses that the manual
// forbids (shapes that do not fit each other, a tile that was not configured), so that the test sees them.
#pragma once

#include <cstdint>
#include <cstring>

namespace invar {
namespace {

struct EmulatedTiles {
    bool configured = false;
    int rows[8] = {}, row_bytes[8] = {};
    uint8_t data[8][16][64] = {};
    int64_t products = 0, faults = 0;
};
inline EmulatedTiles emulated;  // one thread

struct TileUnit {
    static void configure(int tokens, int columns, int rows) {
        emulated.configured = true;
        std::memset(emulated.data, 0, sizeof(emulated.data));
        for (int tile = 0; tile < 6; tile += 3) {
            emulated.rows[tile] = emulated.rows[tile + 1] = tokens;
            emulated.rows[tile + 2] = columns / 4;
            emulated.row_bytes[tile] = emulated.row_bytes[tile + 2] = 4 * rows;
            emulated.row_bytes[tile + 1] = columns;
        }
        for (int tile = 0; tile < 6; ++tile) {
            const bool fits = emulated.rows[tile] >= 1 && emulated.rows[tile] <= 16 && emulated.row_bytes[tile] >= 4 &&
                              emulated.row_bytes[tile] <= 64 && emulated.row_bytes[tile] % 4 == 0;
            emulated.faults += !fits;
        }
    }
    static void release() { emulated.configured = false; }

    template <int kTile>
    static void zero() {
        emulated.faults += !emulated.configured;
        std::memset(emulated.data[kTile], 0, sizeof(emulated.data[kTile]));
    }
    template <int kTile>
    static void load(const void* first_row, int64_t row_stride) {
        zero<kTile>();  // what lies outside the shape
        for (int row = 0; row < emulated.rows[kTile]; ++row) {
            std::memcpy(emulated.data[kTile][row], static_cast<const uint8_t*>(first_row) + row * row_stride,
                        static_cast<size_t>(emulated.row_bytes[kTile]));
        }
    }
    template <int kTile>
    static void store(void* first_row, int64_t row_stride) {
        emulated.faults += !emulated.configured;
        for (int row = 0; row < emulated.rows[kTile]; ++row) {
            std::memcpy(static_cast<uint8_t*>(first_row) + row * row_stride, emulated.data[kTile][row],
                        static_cast<size_t>(emulated.row_bytes[kTile]));
        }
    }
    template <int kSums, int kA, int kB>
    static void multiply_signed() {
        const EmulatedTiles& e = emulated;
        emulated.faults += e.rows[kSums] != e.rows[kA] || e.row_bytes[kSums] != e.row_bytes[kB] ||
                           e.row_bytes[kA] != 4 * e.rows[kB] || kSums == kA || kSums == kB || kA == kB;
        ++emulated.products;
        for (int m = 0; m < e.rows[kSums]; ++m) {
            for (int n = 0; n < e.row_bytes[kSums] / 4; ++n) {
                int32_t sum;
                std::memcpy(&sum, e.data[kSums][m] + 4 * n, 4);
                for (int k = 0; k < e.row_bytes[kA]; ++k) {
                    sum +=
                        static_cast<int8_t>(e.data[kA][m][k]) * static_cast<int8_t>(e.data[kB][k / 4][4 * n + k % 4]);
                }
                std::memcpy(emulated.data[kSums][m] + 4 * n, &sum, 4);
            }
        }
    }
};

}  // namespace
}  // namespace invar
