// The packer: a row's record is taken apart by layout/row_record.h and its pieces are put where weight_layout.h says.
#include "cuda/weight_packing.h"

#include <algorithm>
#include <cstring>

#include "cuda/weight_layout.h"
#include "layout/row_record.h"

namespace invar::cuda {
namespace {

void put16(std::byte* place, uint16_t value) { std::memcpy(place, &value, 2); }

void or_bits(std::byte* place, uint32_t value, int shift) {
    uint64_t word = 0;
    std::memcpy(&word, place, 8);
    word |= static_cast<uint64_t>(value) << shift;
    std::memcpy(place, &word, 8);
}

// A code's planes. `record` is the start of the record, column 32 b + 4 j + c.
void pack_code(const WeightLayout& layout, uint8_t code, int lane, int j, int c, std::byte* record) {
    if (layout.bytes) {
        record[512 * (j / 4) + 16 * lane + 4 * (j % 4) + c] = static_cast<std::byte>(code ^ 0x80);
        return;
    }
    if (layout.nibbles) {
        // With a table the 8 nibbles of a word stand in the order of their columns, 4 of group j % 4 below 4 of j % 4
        // + 4.
        const int nibble = layout.levels == CodeLevels::plain ? 2 * c + j / 4 : c + 4 * (j / 4);
        std::byte& byte = record[16 * lane + 4 * (j % 4) + nibble / 2];
        byte |= static_cast<std::byte>((code & 15) << (4 * (nibble % 2)));
    }
    if (layout.crumbs) {
        std::byte& byte = record[layout.crumbs_at() + 8 * lane + 4 * (j / 4) + c];
        byte |= static_cast<std::byte>((code >> layout.crumbs_shift() & 3) << (2 * (j % 4)));
    }
    if (layout.bits) {
        std::byte& byte = record[layout.bits_at() + 4 * lane + c];
        byte |= static_cast<std::byte>((code >> layout.bits_shift() & 1) << j);
    }
}

// The scales of row r's record i of the span.
void pack_scales(const WeightLayout& layout, const RowRecord& row, int r, int i, std::byte* span) {
    std::byte* const side = span + layout.side_at() + r * layout.side_bytes();
    for (int b = 0; b < 8; ++b) {
        std::byte* const piece = span + (4 * b + r) * layout.scale_bytes();
        const auto two_bytes = static_cast<uint16_t>(row.scale[2 * b] | row.scale[2 * b + 1] << 8);
        switch (layout.scales) {
            case ScaleForm::none:
            case ScaleForm::f32_of_128:  // of float elements
                break;
            case ScaleForm::f16_of_128:
            case ScaleForm::bf16_of_128:
                if (b % 4 == 0) put16(side + 8 * (b / 4) + 2 * i, row.d[b]);
                break;
            case ScaleForm::bf16:
            case ScaleForm::f16:
                put16(piece + 2 * i, row.d[b]);
                break;
            case ScaleForm::f16_minimum:
                put16(piece + 4 * i, row.d[b]);
                put16(piece + 4 * i + 2, row.m[b]);
                break;
            case ScaleForm::six_bit: {
                const bool halves = layout.halves;
                const int low = halves ? row.scale[2 * b] : row.scale[b];
                const int high = halves ? row.scale[2 * b + 1] : row.minimum[b];
                or_bits(piece, static_cast<uint32_t>(low | high << 6), 12 * i);
                if (halves && b == i) put16(piece + 6, row.d[0]);
                if (!halves && b / 2 == i) put16(piece + 6, b % 2 == 0 ? row.d[0] : row.m[0]);
                break;
            }
            case ScaleForm::int8:
            case ScaleForm::ue4m3:
                put16(piece + 2 * i, two_bytes);
                break;
            case ScaleForm::nibbles:
                put16(piece + 2 * i,
                      static_cast<uint16_t>(two_bytes | row.minimum[2 * b] << 4 | row.minimum[2 * b + 1] << 12));
                break;
            case ScaleForm::iq4_xs: {
                uint32_t word = 0;
                std::memcpy(&word, piece, 4);
                word |= static_cast<uint32_t>(row.scale[b]) << (6 * i);
                if (b / 2 == i) word |= (row.d[0] >> (8 * (b % 2)) & 0xFFu) << 24;
                std::memcpy(piece, &word, 4);
                break;
            }
            case ScaleForm::e8m0:
                piece[i] = static_cast<std::byte>(row.scale[b]);
                break;
        }
    }
    if (layout.scales == ScaleForm::int8) put16(side + 2 * i, row.d[0]);
    if (layout.scales == ScaleForm::nibbles) {
        put16(side + 4 * i, row.d[0]);
        put16(side + 4 * i + 2, row.m[0]);
    }
}

// `stored`: blocks of a scale, where there is one, and elements. `scales`: of the record in its span. Behind the last
// column of a block of the grid stands the zero whose product with the block's scale is +0 (layout/float_records.cpp).
void pack_float_record(const WeightLayout& layout, const Format& format, const std::byte* stored, int64_t columns,
                       int r, std::byte* record, std::byte* scales) {
    const int bytes = layout.float_bytes(), of_chunk = 16 / bytes;
    const int scale_bytes = format.block_bytes - format.block_weights * bytes;
    const int64_t padded = layout.has_grid() ? format.blocks_of_row(columns) * format.block_weights : columns;
    for (int k = 0; k < padded; ++k) {
        const std::byte* const block = stored + k / format.block_weights * format.block_bytes;
        const std::byte zero = layout.has_grid() ? block[scale_bytes - 1] & std::byte{0x80} : std::byte{0};
        const std::byte* const element = k < columns ? block + scale_bytes + k % format.block_weights * bytes : &zero;
        const int lane = 4 * (k / 32) + r, chunk = k % 32 / of_chunk, at = k % of_chunk;
        std::memcpy(record + 512 * chunk + 16 * lane + at * bytes, element, static_cast<size_t>(bytes));
        if (layout.has_grid() && r == 0 && k % 128 == 0) std::memcpy(scales + k / 128 * 4, block, 4);
    }
}

}  // namespace

void pack_weights(const Format& format, const std::byte* as_stored, int64_t rows, int64_t columns, int64_t first_group,
                  int64_t last_group, std::byte* packed) {
    const WeightLayout layout = weight_layout(format.id);
    const int64_t records = records_of(columns), bytes = group_bytes(layout, records);
    const int64_t row_bytes = format.row_bytes(columns), record_bytes = format.row_bytes(kRecordColumns);
    std::memset(packed, 0, static_cast<size_t>((last_group - first_group) * bytes));
    for (int64_t group = first_group; group < last_group; ++group, packed += bytes) {
        for (int r = 0; r < kGroupRows && group * kGroupRows + r < rows; ++r) {
            const std::byte* const stored = as_stored + (group * kGroupRows + r) * row_bytes;
            for (int64_t record = 0; record < records; ++record) {
                std::byte* const span = packed + record / kSpanRecords * layout.span_bytes();
                const int i = static_cast<int>(record % kSpanRecords);
                std::byte* const place = span + layout.records_at() + i * layout.record_bytes();
                const int64_t left = std::min<int64_t>(columns - record * kRecordColumns, kRecordColumns);
                if (format.is_float) {
                    pack_float_record(layout, format, stored + record * record_bytes, left, r, place, span + 8 * i);
                    continue;
                }
                RowRecord row;
                split_row(format.id, stored + record * record_bytes, left, row);
                pack_scales(layout, row, r, i, span);
                for (int k = 0; k < left; ++k)
                    pack_code(layout, row.codes[k], 4 * (k / 32) + r, k % 32 / 4, k % 4, place);
            }
        }
    }
}

}  // namespace invar::cuda
