// The packed layout keeps every bit, costs the bytes it states, and puts each code where record.h says.
#include "layout/rows4.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "formats/definitions.h"
#include "layout/pack_records.h"
#include "layout/record.h"

namespace invar {
namespace {

std::vector<std::byte> random_bytes(int64_t count, uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<std::byte> bytes(static_cast<size_t>(count));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() >> 11);
    return bytes;
}

struct Matrix {
    const Format& format;
    int64_t rows, columns;
    std::vector<std::byte> stored, packed;

    Matrix(const Format& f, int64_t r, int64_t k, uint64_t seed)
        : format(f), rows(r), columns(k), stored(random_bytes(r * f.row_bytes(k), seed)) {
        if (record_layout(f.id).scales == ScaleForm::f32_of_128) {  // packed rows share the scales
            for (int64_t row = 0; row < r; ++row) {
                for (int64_t at = 0; at < f.row_bytes(k); at += f.block_bytes)
                    std::memcpy(stored.data() + row * f.row_bytes(k) + at,
                                stored.data() + row / 4 * 4 * f.row_bytes(k) + at, 4);
            }
        }
        if (const int64_t ends_at = k % f.block_weights;
            f.is_float && ends_at > 0) {  // zero bits behind the last column
            const size_t row_bytes = static_cast<size_t>(f.row_bytes(k)),
                         behind = static_cast<size_t>(f.block_weights - ends_at);
            for (size_t end = row_bytes; end <= stored.size(); end += row_bytes)
                std::memset(stored.data() + end - behind, 0, behind);
        }
        EXPECT_TRUE(rows4_scales_agree(f, stored.data(), r, k, 0, (r + 3) / 4));
        packed.assign(static_cast<size_t>(rows4_bytes(f, r, k)), std::byte{0xA5});
        pack_rows4(f, stored.data(), r, k, 0, (r + 3) / 4, packed.data());
    }
    const std::byte* row(int64_t r) const { return stored.data() + r * format.row_bytes(columns); }
};

const Format& named(const char* name) { return *find_format_by_name(name); }

TEST(Rows4, EveryRowOfEveryFormatComesBackToTheByte) {
    int64_t bytes = 0;
    uint64_t seed = 1;
    for (const Format* format : formats()) {
        ASSERT_TRUE(has_rows4(*format));
        for (int64_t columns : {1, 31, 32, 64, 96, 224, 256, 257, 288, 320, 512, 1000, 1024, 2560}) {
            if (!format->allows_columns(columns)) continue;
            for (int64_t rows : {1, 2, 3, 4, 5, 7, 8, 13}) {
                const Matrix matrix(*format, rows, columns, ++seed);
                std::vector<std::byte> back(static_cast<size_t>(format->row_bytes(columns)));
                for (int64_t r = 0; r < rows; ++r) {
                    unpack_row(*format, matrix.packed.data(), rows, columns, r, back.data());
                    ASSERT_EQ(std::memcmp(back.data(), matrix.row(r), back.size()), 0)
                        << format->name << " [" << rows << ", " << columns << "] row " << r;
                    bytes += static_cast<int64_t>(back.size());
                }
            }
        }
    }
    std::printf("[equality] packed and unpacked: %lld bytes compared, 0 differ, %d formats\n",
                static_cast<long long>(bytes), kFormatCount);
    EXPECT_GT(bytes, 2'000'000);
}

TEST(Rows4, RecordCostsTheBytesOfTheFile) {
    struct Cost {
        const char* name;
        int64_t packed;  // of 4 rows x 2560 columns
    };
    // As in the file, but for Q3_K (56 bytes of scales take a line of 64), and for sides, whose last line may be part
    // empty.
    const Cost costs[] = {{"q4_0", 5760},
                          {"q4_1", 6400},
                          {"q5_0", 7040},
                          {"q5_1", 7680},
                          {"q8_0", 10880},
                          {"q2_k", 3392},
                          {"q3_k", 4480},
                          {"q4_k", 5760},
                          {"q5_k", 7040},
                          {"q6_k", 8448},
                          {"iq4_nl", 5760},
                          {"iq4_xs", 5440},
                          {"mxfp4", 5440},
                          {"nvfp4", 5760},
                          {"f32", 40960},
                          {"f16", 20480},
                          {"bf16", 20480},
                          // Against codes alone: the scales of a grid are 1 of 128 x 128, and here of 4 x 128.
                          {"f8_e4m3", 10240},
                          {"f8_e4m3_b128", 10368},
                          {"int4_g32", 5760},
                          {"int4_g128", 5312},
                          {"int4_g128_f16", 5312}};
    for (const Cost& cost : costs) {
        const Format& format = named(cost.name);
        EXPECT_EQ(rows4_bytes(format, 4, 2560), cost.packed) << cost.name;
        EXPECT_EQ(rows4_bytes(format, 1, 2560), cost.packed) << cost.name << ": rows are padded to four";
        EXPECT_EQ(rows4_bytes(format, 4096, 2560), 1024 * cost.packed) << cost.name;
        EXPECT_LT(static_cast<double>(cost.packed), 1.02 * static_cast<double>(4 * format.row_bytes(2560)))
            << cost.name;
        EXPECT_EQ(cost.packed % 64, 0) << cost.name;
    }
}

TEST(Rows4, AGridOfScalesCostsLessThanTwoPercentAboveTheCodes) {
    const Format& format = named("f8_e4m3_b128");
    for (const int64_t columns : {2048, 2560, 4096, 7168, 9728})
        EXPECT_LT(static_cast<double>(rows4_bytes(format, 4, columns)), 1.02 * 4.0 * static_cast<double>(columns));
}

TEST(Rows4, RowsOfAGroupWithOtherScalesAreFound) {
    const Format& format = named("f8_e4m3_b128");
    Matrix matrix(format, 9, 384, 3);
    const auto agree = [&](int64_t first, int64_t last) {
        return rows4_scales_agree(format, matrix.stored.data(), 9, 384, first, last);
    };
    for (const int64_t row : {1, 3, 6}) {
        for (const int64_t block : {0, 2}) {
            std::byte& scale = matrix.stored[static_cast<size_t>(row * format.row_bytes(384) + block * 132 + 2)];
            scale ^= std::byte{1};
            EXPECT_FALSE(agree(0, 3));
            EXPECT_FALSE(agree(row / 4, row / 4 + 1));
            EXPECT_TRUE(agree(1 - row / 4, 2 - row / 4));
            scale ^= std::byte{1};
        }
    }
    EXPECT_TRUE(agree(0, 3));
}

TEST(Rows4, GroupsPackedInAnyOrderAndRangesGiveTheSameBytes) {
    for (const Format* format : formats()) {
        const Matrix whole(*format, 22, 512, 77);
        std::vector<std::byte> packed(whole.packed.size(), std::byte{0x3C});
        for (const auto& [first, last] : {std::pair{4, 6}, {1, 2}, {2, 4}, {0, 1}}) {
            pack_rows4(*format, whole.stored.data(), 22, 512, first, last, packed.data());
        }
        EXPECT_EQ(packed, whole.packed) << format->name;
    }
}

TEST(Rows4, VectorPackingEqualsThePlainLoopsForEveryFormatAndEdge) {
    if (!can_pack_with_avx2()) GTEST_SKIP() << "this machine has no AVX2";
    int64_t bytes = 0, vector_records = 0;
    uint64_t seed = 100;
    for (const Format* format : formats()) {
        for (int64_t columns : {32, 224, 256, 288, 512, 544, 768, 1024, 2560}) {
            if (!format->allows_columns(columns)) continue;
            for (int64_t rows : {1, 4, 7, 8, 12, 22}) {
                const Matrix matrix(*format, rows, columns, ++seed);
                std::vector<std::byte> plain(matrix.packed.size(), std::byte{0x5A});
                pack_rows4(*format, matrix.stored.data(), rows, columns, 0, (rows + 3) / 4, plain.data(),
                           Packing::plain);
                ASSERT_EQ(plain, matrix.packed) << format->name << " [" << rows << ", " << columns << "]";
                bytes += static_cast<int64_t>(plain.size());
                vector_records += rows / 4 * (columns / 256);
            }
        }
    }
    std::printf("[equality] vector and plain packing: %lld bytes compared, 0 differ, %lld vector records, %d formats\n",
                static_cast<long long>(bytes), static_cast<long long>(vector_records), kFormatCount);
    EXPECT_GT(vector_records, 3000);
}

TEST(Rows4, PartsOfARowComeBackRecordByRecord) {
    for (const Format* format : formats()) {
        const int64_t columns = format->allows_columns(832) ? 832 : 768;
        const Matrix matrix(*format, 6, columns, 5);
        for (int64_t row : {0, 3, 5}) {
            for (int64_t record = 0; record < records_of(columns); ++record) {
                const int64_t count = std::min<int64_t>(256, columns - 256 * record);
                std::vector<std::byte> part(static_cast<size_t>(format->row_bytes(count)));
                unpack_row_record(*format, matrix.packed.data(), columns, row, record, part.data());
                EXPECT_EQ(std::memcmp(part.data(), matrix.row(row) + format->row_bytes(256 * record), part.size()), 0)
                    << format->name << " row " << row << " record " << record;
            }
        }
    }
}

// The unsigned code of a packed record at row r, block b, column k of the block, read by the drawing in record.h.
int packed_code(const RecordLayout& layout, const std::byte* record, int r, int b, int k) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(record);
    const int pair = r / 2, j = k / 4, x = 32 * (r % 2) + 4 * b + k % 4;
    int code = 0;
    if (layout.bytes) code = bytes[512 * pair + 64 * j + x];
    if (layout.nibbles) code = bytes[256 * pair + 64 * (j % 4) + x] >> (4 * (j / 4)) & 15;
    if (layout.crumbs) {
        const int crumb = bytes[layout.crumbs_at() + 128 * pair + 64 * (j / 4) + x] >> (2 * (j % 4)) & 3;
        code |= crumb << layout.crumbs_shift();
    }
    if (layout.bits) code |= (bytes[layout.bits_at() + 64 * pair + x] >> j & 1) << layout.bits_shift();
    return code;
}

// `code_of(row bytes, b, k)`: the signed code by the format's own definition.
template <class CodeOf>
int64_t expect_codes(const char* name, CodeOf code_of) {
    const Format& format = named(name);
    const RecordLayout layout = record_layout(format.id);
    const Matrix matrix(format, 4, 512, 9);
    int64_t compared = 0;
    for (int record = 0; record < 2; ++record) {
        const std::byte* packed = matrix.packed.data() + sides_bytes(layout, 512) + record * layout.main_bytes();
        for (int r = 0; r < 4; ++r) {
            for (int b = 0; b < 8; ++b) {
                for (int k = 0; k < 32; ++k, ++compared) {
                    EXPECT_EQ(packed_code(layout, packed, r, b, k) - layout.offset,
                              code_of(matrix.row(r) + record * format.row_bytes(256), b, k))
                        << name << " row " << r << " block " << b << " column " << k;
                }
            }
        }
    }
    return compared;
}

template <class Block>
const Block& block_at(const std::byte* row, int index) {
    return reinterpret_cast<const Block*>(row)[index];
}

TEST(Rows4, CodesLieWhereTheDrawingSays) {
    int64_t compared = 0;
    compared += expect_codes("q4_0", [](auto* row, int b, int k) { return code(block_at<q4_0::Block>(row, b), k); });
    compared += expect_codes("q5_1", [](auto* row, int b, int k) { return code(block_at<q5_1::Block>(row, b), k); });
    compared += expect_codes("q8_0", [](auto* row, int b, int k) { return code(block_at<q8_0::Block>(row, b), k); });
    compared += expect_codes("q2_k", [](auto* row, int b, int k) { return code(block_at<q2_k::Block>(row, 0), b, k); });
    compared += expect_codes("q3_k", [](auto* row, int b, int k) { return code(block_at<q3_k::Block>(row, 0), b, k); });
    compared += expect_codes("q4_k", [](auto* row, int b, int k) { return code(block_at<q4_k::Block>(row, 0), b, k); });
    compared += expect_codes("q5_k", [](auto* row, int b, int k) { return code(block_at<q5_k::Block>(row, 0), b, k); });
    compared += expect_codes("q6_k", [](auto* row, int b, int k) { return code(block_at<q6_k::Block>(row, 0), b, k); });
    std::printf("[equality] codes in their place: %lld compared, 8 formats\n", static_cast<long long>(compared));
    EXPECT_EQ(compared, 8 * 2 * 4 * 256);
}

TEST(Rows4, ScalesLieWhereTheDrawingSays) {
    const Matrix k4(named("q4_k"), 4, 256, 3), xs(named("iq4_xs"), 4, 256, 4), nv(named("nvfp4"), 4, 256, 5);
    for (int r = 0; r < 4; ++r) {
        const auto* line = reinterpret_cast<const uint8_t*>(k4.packed.data()) + 512;
        const auto& block = block_at<q4_k::Block>(k4.row(r), 0);
        const auto& xs_block = block_at<iq4_xs::Block>(xs.row(r), 0);
        const auto* side = reinterpret_cast<const uint8_t*>(xs.packed.data());
        for (int b = 0; b < 8; ++b) {
            const int lane = 8 * (r % 2) + b;
            const int low = line[2 * lane] | line[2 * lane + 1] << 8;
            const int value = r < 2 ? low & 0xFFF : low >> 12 | line[32 + lane] << 4;
            EXPECT_EQ(value & 63, block.scales.scale(b));
            EXPECT_EQ(value >> 6, block.scales.minimum(b));
            const int upper = side[16 + b] >> (4 * (r % 2)) & 15;
            EXPECT_EQ((r < 2 ? side[lane] & 63 : side[lane] >> 6 | upper << 2) - 32, scale(xs_block, b));
            for (int half = 0; half < 2; ++half) {
                const auto* bytes = reinterpret_cast<const uint8_t*>(nv.packed.data()) + 512;
                EXPECT_EQ(bytes[32 * (r / 2) + 16 * half + lane],
                          block_at<nvfp4::Block>(nv.row(r), b / 2).scales[2 * (b % 2) + half]);
            }
        }
        EXPECT_EQ(line[48 + 2 * r] | line[49 + 2 * r] << 8, block.d.bits());
        EXPECT_EQ(line[56 + 2 * r] | line[57 + 2 * r] << 8, block.dmin.bits());
        EXPECT_EQ(side[24 + 2 * r] | side[25 + 2 * r] << 8, xs_block.d.bits());
    }
}

TEST(Rows4, ColumnsAndRowsPastTheEndAreZeroBits) {
    for (const char* name : {"q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "iq4_nl", "mxfp4", "nvfp4"}) {
        const Format& format = named(name);
        const RecordLayout layout = record_layout(format.id);
        const Matrix matrix(format, 3, 64, 21);
        const std::byte* record = matrix.packed.data() + sides_bytes(layout, 64);
        for (int r = 0; r < 4; ++r) {
            for (int b = r == 3 ? 0 : 2; b < 8; ++b) {
                for (int k = 0; k < 32; ++k) EXPECT_EQ(packed_code(layout, record, r, b, k), 0) << name;
            }
        }
        if (layout.scales != ScaleForm::f16 && layout.scales != ScaleForm::f16_minimum) continue;
        const auto* scales = reinterpret_cast<const uint8_t*>(record) + layout.scales_at();
        for (int lane = 2; lane < 8; ++lane) EXPECT_EQ(scales[2 * lane] | scales[2 * lane + 1], 0) << name;
        for (int byte = 48; byte < 64; ++byte) EXPECT_EQ(scales[byte], 0) << name << ": row 3";
    }
}

TEST(Rows4, FloatElementsLieStepByStepWithStrandsAsLanes) {
    const Matrix matrix(named("bf16"), 5, 300, 31);
    const auto* packed = reinterpret_cast<const uint16_t*>(matrix.packed.data());
    for (int64_t row = 0; row < 8; ++row) {
        for (int64_t k = 0; k < 512; ++k) {
            const int64_t at = (row / 4 * 2 + k / 256) * 1024 + 32 * (k % 32) + 8 * (row % 4) + k % 256 / 32;
            const bool inside = row < 5 && k < 300;
            EXPECT_EQ(packed[at], inside ? reinterpret_cast<const uint16_t*>(matrix.row(row))[k] : 0);
        }
    }
}

}  // namespace
}  // namespace invar
