// Splits the blocks of a row and joins them again, bit for bit, by the split() and join() of each format's folder.
// Every weight of a model passes here once at load, unless vector code packs it (pack_records.h).
#include "layout/row_record.h"

#include "base/check.h"
#include "formats/definitions.h"

namespace invar {

void split_row(FormatId format, const std::byte* stored, int64_t columns, RowRecord& row) {
    with_format(format, [&]<FormatId kId>() {
        if constexpr (describe(kId).is_float()) {
            CHECK(false, "only quantised formats have records of codes");
        } else {
            using Block = BlockOf<kId>;
            if (columns < 256) row = RowRecord{};
            const auto* const blocks = reinterpret_cast<const Block*>(stored);
            for (int b = 0; b * Block::kWeights < columns; ++b) split(blocks[b], b, row);
        }
    });
}

void join_row(FormatId format, const RowRecord& row, int64_t columns, std::byte* stored) {
    with_format(format, [&]<FormatId kId>() {
        if constexpr (describe(kId).is_float()) {
            CHECK(false, "only quantised formats have records of codes");
        } else {
            using Block = BlockOf<kId>;
            auto* const blocks = reinterpret_cast<Block*>(stored);
            for (int b = 0; b * Block::kWeights < columns; ++b) join(row, b, blocks[b]);
        }
    });
}

}  // namespace invar
