// Interleaves rows into packed records and back. Which bit lies where: record.h. How a format's block comes apart:
// row_record.h. Elements of float formats: float_records.h.
#include "layout/rows4.h"

#include <cstring>

#include "base/check.h"
#include "layout/float_records.h"
#include "layout/record.h"
#include "layout/row_record.h"

namespace invar {
namespace {

constexpr int kLine = 64;

// A record's four rows after the 8 x 8 transposition of their 4-byte words: [j][32 (r % 2) + 4 b + c] of each pair.
struct Groups {
    alignas(64) uint8_t pair[2][8][kLine];
};

void interleave(const uint8_t codes[256], int row, Groups& groups) {
    for (int b = 0; b < 8; ++b) {
        for (int j = 0; j < 8; ++j) {
            std::memcpy(groups.pair[row / 2][j] + 32 * (row % 2) + 4 * b, codes + 32 * b + 4 * j, 4);
        }
    }
}

void separate(const Groups& groups, int row, uint8_t codes[256]) {
    for (int b = 0; b < 8; ++b) {
        for (int j = 0; j < 8; ++j) {
            std::memcpy(codes + 32 * b + 4 * j, groups.pair[row / 2][j] + 32 * (row % 2) + 4 * b, 4);
        }
    }
}

// Plane of kBits bits a code, taken from bit `shift` of it. Each of the kLines lines of a pair holds 8 / kBits
// k-groups: nibbles put group j beside j + 4, crumbs 4 neighbours, bits all eight.
template <int kBits>
constexpr int group_of(int line, int position) {
    return kBits == 4 ? line + 4 * position : line * (8 / kBits) + position;
}

template <int kBits>
void store_plane(const Groups& groups, int shift, uint8_t* plane) {
    constexpr int kMask = (1 << kBits) - 1, kPositions = 8 / kBits;
    for (int pair = 0; pair < 2; ++pair) {
        for (int line = 0; line < kBits; ++line, plane += kLine) {
            for (int x = 0; x < kLine; ++x) {
                int packed = 0;
                for (int position = 0; position < kPositions; ++position) {
                    const int code = groups.pair[pair][group_of<kBits>(line, position)][x];
                    packed |= (code >> shift & kMask) << (kBits * position);
                }
                plane[x] = static_cast<uint8_t>(packed);
            }
        }
    }
}

// Adds the plane's bits to the codes.
template <int kBits>
void load_plane(const uint8_t* plane, int shift, Groups& groups) {
    constexpr int kMask = (1 << kBits) - 1, kPositions = 8 / kBits;
    for (int pair = 0; pair < 2; ++pair) {
        for (int line = 0; line < kBits; ++line, plane += kLine) {
            for (int position = 0; position < kPositions; ++position) {
                uint8_t* codes = groups.pair[pair][group_of<kBits>(line, position)];
                for (int x = 0; x < kLine; ++x) {
                    codes[x] |= static_cast<uint8_t>((plane[x] >> (kBits * position) & kMask) << shift);
                }
            }
        }
    }
}

void store_u16(uint8_t* at, uint16_t value) { std::memcpy(at, &value, 2); }
uint16_t load_u16(const uint8_t* at) {
    uint16_t value = 0;
    std::memcpy(&value, at, 2);
    return value;
}

// Where the scales of a record lie. `lane` = 8 (row % 2) + b.
struct ScalePlace {
    ScaleForm form;
    uint8_t* line;  // in the record
    uint8_t* side;  // the record's side piece
};

// The 12 bits of a lane in the six_bit form.
int six_bit_lane(const RowRecord& row, int b, bool halves) {
    return halves ? row.scale[2 * b] | row.scale[2 * b + 1] << 6 : row.scale[b] | row.minimum[b] << 6;
}

// What each block has.
void store_block_scales(const RowRecord& row, int r, bool halves, ScalePlace place) {
    const int pair = r / 2;
    for (int b = 0; b < 8; ++b) {
        const int lane = 8 * (r % 2) + b, wide = 16 * pair + lane;
        switch (place.form) {
            case ScaleForm::f16_minimum:
                store_u16(place.line + 64 + 2 * wide, row.m[b]);
                [[fallthrough]];
            case ScaleForm::f16:
            case ScaleForm::bf16:
                store_u16(place.line + 2 * wide, row.d[b]);
                break;
            case ScaleForm::f16_of_128:
            case ScaleForm::bf16_of_128:
                if (b % 4 == 0) store_u16(place.side + 2 * (2 * r + b / 4), row.d[b]);
                break;
            case ScaleForm::six_bit: {  // pair 0 is stored before pair 1
                const int value = six_bit_lane(row, b, halves);
                if (pair == 0) {
                    store_u16(place.line + 2 * lane, static_cast<uint16_t>(value));
                } else {
                    const int low = load_u16(place.line + 2 * lane) & 0xFFF;
                    store_u16(place.line + 2 * lane, static_cast<uint16_t>(low | value << 12));
                    place.line[32 + lane] = static_cast<uint8_t>(value >> 4);
                }
                break;
            }
            case ScaleForm::nibbles:
                for (int half = 0; half < 2; ++half) {
                    place.line[32 * pair + 16 * half + lane] =
                        static_cast<uint8_t>(row.scale[2 * b + half] | row.minimum[2 * b + half] << 4);
                }
                break;
            case ScaleForm::int8:
            case ScaleForm::ue4m3:
                for (int half = 0; half < 2; ++half) {
                    place.line[32 * pair + 16 * half + lane] = row.scale[2 * b + half];
                }
                break;
            case ScaleForm::iq4_xs:
                if (pair == 0) {
                    place.side[lane] = row.scale[b];
                    if (r == 0) place.side[16 + b] = 0;
                } else {
                    place.side[lane] = static_cast<uint8_t>((place.side[lane] & 63) | row.scale[b] << 6);
                    const int upper = (row.scale[b] >> 2) << (4 * (lane / 8));
                    place.side[16 + b] = static_cast<uint8_t>(place.side[16 + b] | upper);
                }
                break;
            case ScaleForm::e8m0:
                place.side[wide] = row.scale[b];
                break;
            case ScaleForm::none:
            case ScaleForm::f32_of_128:  // of float elements
                break;
        }
    }
}

// What a row has once: d and dmin.
void store_row_scales(const RowRecord& row, int r, bool halves, ScalePlace place) {
    switch (place.form) {
        case ScaleForm::six_bit:
            store_u16(place.line + 48 + 2 * r, row.d[0]);
            store_u16(place.line + 56 + 2 * r, halves ? uint16_t{0} : row.m[0]);
            break;
        case ScaleForm::nibbles:
            store_u16(place.side + 8 + 2 * r, row.m[0]);
            [[fallthrough]];
        case ScaleForm::int8:
            store_u16(place.side + 2 * r, row.d[0]);
            break;
        case ScaleForm::iq4_xs:
            store_u16(place.side + 24 + 2 * r, row.d[0]);
            break;
        default:
            break;
    }
}

void load_block_scales(const uint8_t* line, const uint8_t* side, ScaleForm form, bool halves, int r, RowRecord& row) {
    const int pair = r / 2;
    for (int b = 0; b < 8; ++b) {
        const int lane = 8 * (r % 2) + b, wide = 16 * pair + lane;
        switch (form) {
            case ScaleForm::f16_minimum:
                row.m[b] = load_u16(line + 64 + 2 * wide);
                [[fallthrough]];
            case ScaleForm::f16:
            case ScaleForm::bf16:
                row.d[b] = load_u16(line + 2 * wide);
                break;
            case ScaleForm::f16_of_128:
            case ScaleForm::bf16_of_128:
                row.d[b] = load_u16(side + 2 * (2 * r + b / 4));
                break;
            case ScaleForm::six_bit: {
                const int low = load_u16(line + 2 * lane);
                const int value = pair == 0 ? low & 0xFFF : low >> 12 | line[32 + lane] << 4;
                const uint8_t first = value & 63, second = static_cast<uint8_t>(value >> 6);
                row.scale[halves ? 2 * b : b] = first;
                if (halves) {
                    row.scale[2 * b + 1] = second;
                } else {
                    row.minimum[b] = second;
                }
                break;
            }
            case ScaleForm::nibbles:
                for (int half = 0; half < 2; ++half) {
                    row.scale[2 * b + half] = line[32 * pair + 16 * half + lane] & 15;
                    row.minimum[2 * b + half] = line[32 * pair + 16 * half + lane] >> 4;
                }
                break;
            case ScaleForm::int8:
            case ScaleForm::ue4m3:
                for (int half = 0; half < 2; ++half) row.scale[2 * b + half] = line[32 * pair + 16 * half + lane];
                break;
            case ScaleForm::iq4_xs: {
                const int upper = side[16 + b] >> (4 * (lane / 8)) & 15;
                row.scale[b] = static_cast<uint8_t>(pair == 0 ? side[lane] & 63 : side[lane] >> 6 | upper << 2);
                break;
            }
            case ScaleForm::e8m0:
                row.scale[b] = side[wide];
                break;
            case ScaleForm::none:
            case ScaleForm::f32_of_128:
                break;
        }
    }
}

void load_row_scales(const uint8_t* line, const uint8_t* side, ScaleForm form, int r, RowRecord& row) {
    switch (form) {
        case ScaleForm::six_bit:
            row.d[0] = load_u16(line + 48 + 2 * r);
            row.m[0] = load_u16(line + 56 + 2 * r);
            break;
        case ScaleForm::nibbles:
            row.m[0] = load_u16(side + 8 + 2 * r);
            [[fallthrough]];
        case ScaleForm::int8:
            row.d[0] = load_u16(side + 2 * r);
            break;
        case ScaleForm::iq4_xs:
            row.d[0] = load_u16(side + 24 + 2 * r);
            break;
        default:
            break;
    }
}

void store_codes(const RecordLayout& layout, const Groups& groups, uint8_t* record) {
    if (layout.bytes) std::memcpy(record, groups.pair, sizeof(groups.pair));
    if (layout.nibbles) store_plane<4>(groups, 0, record);
    if (layout.crumbs) store_plane<2>(groups, layout.crumbs_shift(), record + layout.crumbs_at());
    if (layout.bits) store_plane<1>(groups, layout.bits_shift(), record + layout.bits_at());
}

void load_codes(const RecordLayout& layout, const uint8_t* record, Groups& groups) {
    std::memset(groups.pair, 0, sizeof(groups.pair));
    if (layout.bytes) std::memcpy(groups.pair, record, sizeof(groups.pair));
    if (layout.nibbles) load_plane<4>(record, 0, groups);
    if (layout.crumbs) load_plane<2>(record + layout.crumbs_at(), layout.crumbs_shift(), groups);
    if (layout.bits) load_plane<1>(record + layout.bits_at(), layout.bits_shift(), groups);
}

void pack_group(const RowsToPack& matrix, int64_t group, uint8_t* packed) {
    const RecordLayout layout = record_layout(matrix.format.id);
    const int64_t records = records_of(matrix.columns), row_bytes = matrix.format.row_bytes(matrix.columns);
    const int64_t record_bytes = matrix.format.row_bytes(kRecordColumns);
    uint8_t* const sides = packed;
    packed += sides_bytes(layout, matrix.columns);
    std::memset(sides, 0, static_cast<size_t>(packed - sides));
    const int64_t first = pack_vector_records(matrix, group, sides, packed);
    packed += first * layout.main_bytes();
    for (int64_t record = first; record < records; ++record, packed += layout.main_bytes()) {
        Groups groups;
        RowRecord row;
        for (int r = 0; r < kRowGroup; ++r) {
            const int64_t index = group * kRowGroup + r;
            if (index < matrix.rows) {
                const std::byte* stored = matrix.as_stored + index * row_bytes + record * record_bytes;
                split_row(matrix.format.id, stored, columns_of_record(matrix.columns, record), row);
            } else {
                row = RowRecord{};
            }
            interleave(row.codes, r, groups);
            const ScalePlace place{layout.scales, packed + layout.scales_at(), sides + record * layout.side_bytes()};
            store_block_scales(row, r, layout.halves, place);
            store_row_scales(row, r, layout.halves, place);
        }
        store_codes(layout, groups, packed);
    }
}

int64_t group_bytes(const Format& format, int64_t columns) {
    return row_group_bytes(record_layout(format.id), columns);
}

}  // namespace

bool can_pack_with_avx2() { return __builtin_cpu_supports("avx2") != 0; }

bool has_rows4(const Format& format) { return record_layout(format.id).has_pieces(); }

bool rows4_scales_agree(const Format& format, const std::byte* as_stored, int64_t rows, int64_t columns,
                        int64_t first_group, int64_t last_group) {
    if (record_layout(format.id).scales != ScaleForm::f32_of_128) return true;
    const int64_t row_bytes = format.row_bytes(columns);
    for (int64_t row = first_group * kRowGroup; row < last_group * kRowGroup && row < rows; ++row) {
        const std::byte* const first = as_stored + row / kRowGroup * kRowGroup * row_bytes;
        for (int64_t at = 0; at < row_bytes; at += format.block_bytes) {
            if (std::memcmp(first + at, as_stored + row * row_bytes + at, 4) != 0) return false;
        }
    }
    return true;
}

int64_t rows4_bytes(const Format& format, int64_t rows, int64_t columns) {
    return (rows + kRowGroup - 1) / kRowGroup * group_bytes(format, columns);
}

void pack_rows4(const Format& format, const std::byte* as_stored, int64_t rows, int64_t columns, int64_t first_group,
                int64_t last_group, std::byte* packed, Packing packing) {
    CHECK(has_rows4(format) && format.allows_columns(columns), "a row has columns that its format allows");
    const RowsToPack matrix{format, as_stored, rows, columns, packing == Packing::fastest && can_pack_with_avx2()};
    for (int64_t group = first_group; group < last_group; ++group) {
        uint8_t* const out = reinterpret_cast<uint8_t*>(packed) + group * group_bytes(format, columns);
        format.is_float ? pack_float_group(matrix, group, out) : pack_group(matrix, group, out);
    }
}

void unpack_row_record(const Format& format, const std::byte* packed, int64_t columns, int64_t row, int64_t record,
                       std::byte* as_stored) {
    const int r = static_cast<int>(row % kRowGroup);
    const int64_t count = columns_of_record(columns, record);
    const uint8_t* const group =
        reinterpret_cast<const uint8_t*>(packed) + row / kRowGroup * group_bytes(format, columns);
    const RecordLayout layout = record_layout(format.id);
    const uint8_t* const main = group + sides_bytes(layout, columns) + record * layout.main_bytes();
    const uint8_t* const side = group + record * layout.side_bytes();
    if (format.is_float) return unpack_float_record(format, main, side, r, count, as_stored);
    Groups groups;
    RowRecord parts;
    load_codes(layout, main, groups);
    separate(groups, r, parts.codes);
    load_block_scales(main + layout.scales_at(), side, layout.scales, layout.halves, r, parts);
    load_row_scales(main + layout.scales_at(), side, layout.scales, r, parts);
    join_row(format.id, parts, count, as_stored);
}

void unpack_row(const Format& format, const std::byte* packed, int64_t rows, int64_t columns, int64_t row,
                std::byte* as_stored) {
    CHECK(row >= 0 && row < rows, "the row is one of the matrix's");
    for (int64_t record = 0; record < records_of(columns); ++record) {
        unpack_row_record(format, packed, columns, row, record, as_stored + record * format.row_bytes(kRecordColumns));
    }
}

}  // namespace invar
