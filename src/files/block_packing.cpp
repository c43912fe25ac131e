// One function per format puts the codes and scales of a row in the order of the format's blocks: see block_packing.h.
#include "files/block_packing.h"

#include <algorithm>
#include <cstring>

#include "arithmetic/float_types.h"
#include "base/check.h"

namespace invar {
namespace {

uint8_t byte_at(const std::byte* bytes, int64_t at) { return std::to_integer<uint8_t>(bytes[at]); }
// The code of element i where two share a byte, the even one in the low nibble.
uint8_t pair_code(const std::byte* codes, int64_t i) { return (byte_at(codes, i / 2) >> (i % 2 * 4)) & 0xF; }

// Packs elements [first, first + 2 half) of a row into `half` bytes: element j low, element j + half high.
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

// 128 elements in 132 bytes: the scale in binary32, then the codes. Behind the last column stand zero bits.
void pack_f8(const PackingRow& row, std::byte* out) {
    for (int64_t first = 0; first < row.columns; first += 128, out += 132) {
        const float scale = scale_number(row.scale_dtype, row.scales, first / 128);
        const auto count = static_cast<size_t>(std::min<int64_t>(128, row.columns - first));
        std::memcpy(out, &scale, sizeof scale);
        std::memcpy(out + sizeof scale, row.weights + first, count);
        std::memset(out + sizeof scale + count, 0, 128 - count);
    }
}

// A group becomes 2 bytes of scale and its codes, in the order of the words or (q4_0) element j low, j + 16 high.
void pack_int4(const Format& format, const PackingRow& row, std::byte* out) {
    const int group = format.block_weights;
    for (int64_t first = 0; first < row.columns; first += group, out += format.block_bytes) {
        std::memcpy(out, row.scales + first / group * 2, 2);
        if (format.id == FormatId::q4_0) {
            write_halves(row.weights, first, group / 2, out + 2);
        } else {
            std::memcpy(out + 2, row.weights + first / 2, static_cast<size_t>(group / 2));
        }
    }
}

// Counts the numbers whose bits without the sign are at or above those of the first that is none, and those below 0.
template <class Bits>
int64_t count_bad(std::span<const std::byte> scales, Bits first_bad, ScaleSign sign) {
    constexpr auto kMinusZero = static_cast<Bits>(Bits{1} << (8 * sizeof(Bits) - 1));
    int64_t bad = 0;
    for (size_t at = 0; at + sizeof(Bits) <= scales.size(); at += sizeof(Bits)) {
        Bits bits = 0;
        std::memcpy(&bits, scales.data() + at, sizeof bits);
        const bool negative = bits > kMinusZero && sign == ScaleSign::none;
        bad += negative || (bits & (kMinusZero - 1)) >= first_bad ? 1 : 0;
    }
    return bad;
}

}  // namespace

float scale_number(std::string_view dtype, const std::byte* scales, int64_t at) {
    if (dtype == "F8_E8M0") return e8m0_to_f32(byte_at(scales, at));
    if (dtype == "BF16") {
        uint16_t bits = 0;
        std::memcpy(&bits, scales + 2 * at, sizeof bits);
        return bf16_to_f32(bits);
    }
    CHECK(dtype == "F32", "other scales are refused before");
    float value = 0;
    std::memcpy(&value, scales + 4 * at, sizeof value);
    return value;
}

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

ColumnUnit weight_unit(CodePacking packing, const Format& format) {
    switch (packing) {
        case CodePacking::blocks:
            return {format.block_weights, format.block_bytes};
        case CodePacking::nvfp4_pairs:
            return {16, 8};
        case CodePacking::mxfp4_pairs:
            return {32, 16};
        case CodePacking::f8_grid:
            return {128, 128};
        case CodePacking::int4_words:
            return {format.block_weights, format.block_weights / 2};
    }
    return {};
}

void pack_row(CodePacking packing, const Format& format, const PackingRow& row, std::byte* out) {
    switch (packing) {
        case CodePacking::nvfp4_pairs:
            return pack_nvfp4(row, out);
        case CodePacking::mxfp4_pairs:
            return pack_mxfp4(row, out);
        case CodePacking::f8_grid:
            return pack_f8(row, out);
        case CodePacking::int4_words:
            return pack_int4(format, row, out);
        case CodePacking::blocks:
            break;
    }
    CHECK(false, "blocks are not packed again");
}

int64_t count_bad_scales(std::string_view dtype, std::span<const std::byte> scales, ScaleSign sign) {
    if (dtype == "F8_E4M3") return count_bad<uint8_t>(scales, 0x7F, sign);
    if (dtype == "F8_E8M0" || dtype == "U8") return std::count(scales.begin(), scales.end(), std::byte{0xFF});
    if (dtype == "BF16") return count_bad<uint16_t>(scales, 0x7F80, sign);
    if (dtype == "F16") return count_bad<uint16_t>(scales, 0x7C00, sign);
    if (dtype == "F32") return count_bad<uint32_t>(scales, 0x7F800000, sign);
    return 0;
}

}  // namespace invar
