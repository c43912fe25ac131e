#include "files/block_packing.h"

#include <cstring>

#include "base/check.h"

namespace invar {
namespace {

uint8_t byte_at(const std::byte* bytes, int64_t at) { return std::to_integer<uint8_t>(bytes[at]); }
// The code of element i where two share a byte, the even one low.
uint8_t pair_code(const std::byte* codes, int64_t i) { return (byte_at(codes, i / 2) >> (i % 2 * 4)) & 0xF; }

// Elements [first, first + 2 half) of a row into `half` bytes: element j low, element j + half high.
void write_halves(const std::byte* codes, int64_t first, int half, std::byte* out) {
    for (int j = 0; j < half; ++j)
        out[j] = static_cast<std::byte>(pair_code(codes, first + j) | pair_code(codes, first + j + half) << 4);
}

// 64 elements in 36 bytes: four E4M3 scales without their sign, then 8 bytes for each 16.
void pack_nvfp4(const PackingRow& row, std::byte* out) {
    for (int64_t first = 0; first < row.columns; first += 64, out += 36) {
        for (int g = 0; g < 4; ++g) {
            out[g] = row.scales[first / 16 + g] & std::byte{0x7F};
            write_halves(row.weights, first + 16 * g, 8, out + 4 + 8 * g);
        }
    }
}

// 32 elements in 17 bytes: the E8M0 scale, then 16 bytes.
void pack_mxfp4(const PackingRow& row, std::byte* out) {
    for (int64_t first = 0; first < row.columns; first += 32, out += 17) {
        out[0] = row.scales[first / 32];
        write_halves(row.weights, first, 16, out + 1);
    }
}

}  // namespace

int64_t packed_row_bytes(CodePacking packing, const Format& format, int64_t columns) {
    switch (packing) {
        case CodePacking::blocks:
            return format.row_bytes(columns);
        case CodePacking::nvfp4_pairs:
        case CodePacking::mxfp4_pairs:
        case CodePacking::int4_words:
            return columns / 2;
        case CodePacking::f8_grid:
            return columns;
    }
    return 0;
}

void pack_row(CodePacking packing, const Format& format, const PackingRow& row, std::byte* out) {
    switch (packing) {
        case CodePacking::nvfp4_pairs:
            return pack_nvfp4(row, out);
        case CodePacking::mxfp4_pairs:
            return pack_mxfp4(row, out);
        case CodePacking::blocks:
        case CodePacking::f8_grid:
        case CodePacking::int4_words:
            break;
    }
    CHECK(false, "a packing without blocks of its own is not packed");
}

}  // namespace invar
