// The table of weight formats, made from formats/list.h, and the dot law over whole rows, which is the same for every
// format. The meaning of a Block, its encoder and its strand step are in formats/NAME/.
#include "formats/format.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "formats/definitions.h"

namespace invar {
namespace {

// The functions of a Format for one Block type. They find weight(), encode() and accumulate() in the Block's namespace.
template <class Block, bool kMayEndInside>
struct Row {
    static const Block& block(const std::byte* bytes) { return *reinterpret_cast<const Block*>(bytes); }  // alignment 1

    static float weight_of(const std::byte* bytes, int i) { return weight(block(bytes), i); }

    static void decode_row(const std::byte* row, int64_t count, float* out) {
        const int64_t whole = count / Block::kWeights * Block::kWeights;
        CHECK(count >= 0 && (kMayEndInside || whole == count), "rows are decoded in whole blocks");
        for (int64_t start = 0; start < whole; start += Block::kWeights, row += sizeof(Block)) {
            for (int i = 0; i < Block::kWeights; ++i) out[start + i] = weight(block(row), i);
        }
        for (int64_t i = whole; i < count; ++i) out[i] = weight(block(row), static_cast<int>(i - whole));
    }

    static void encode_row(const float* in, int64_t count, const float* importance, std::byte* row) {
        const int64_t whole = count / Block::kWeights * Block::kWeights;
        CHECK(count >= 0 && (kMayEndInside || whole == count), "rows are encoded in whole blocks");
        for (int64_t start = 0; start < whole; start += Block::kWeights, row += sizeof(Block)) {
            const float* columns = importance == nullptr ? nullptr : importance + start;
            encode(in + start, columns, *reinterpret_cast<Block*>(row));
        }
        if (whole == count) return;
        float last[Block::kWeights] = {};
        std::copy(in + whole, in + count, last);
        encode(last, nullptr, *reinterpret_cast<Block*>(row));  // float formats know no importance
    }

    static void accumulate_block(const std::byte* bytes, const QuantizedBlock* x, int64_t first_block,
                                 Strands& strands) {
        accumulate(block(bytes), x, first_block, strands);
    }
};

constexpr std::string_view kNames[] = {
#define INVAR_NAME(name) #name,
    INVAR_FORMATS(INVAR_NAME)
#undef INVAR_NAME
};

// Float formats need no accumulate(): they share the step of dot_float().
template <FormatId kId>
constexpr auto accumulate_of() {
    using Block = BlockOf<kId>;
    if constexpr (describe(kId).is_float()) {
        return nullptr;
    } else {
        static_assert(Block::kWeights % kDotBlock == 0);
        return Row<Block, false>::accumulate_block;
    }
}

constexpr std::span<const ScaleField> scale_fields(FormatId id) {
    switch (id) {
#define INVAR_CASE(name) \
    case FormatId::name: \
        return name::kScaleFields;
        INVAR_FORMATS(INVAR_CASE)
#undef INVAR_CASE
    }
    return {};
}

constexpr auto kTable = format_table<Format>([]<FormatId kId>() {
    using Block = BlockOf<kId>;
    using R = Row<Block, describe(kId).is_float()>;
    static_assert(alignof(Block) == 1);
    return Format{.id = kId,
                  .name = kNames[static_cast<int>(kId)],
                  .gguf_type = describe(kId).gguf_type,
                  .block_weights = Block::kWeights,
                  .block_bytes = sizeof(Block),
                  .is_float = describe(kId).is_float(),
                  .scales = scale_fields(kId),
                  .weight = R::weight_of,
                  .decode = R::decode_row,
                  .encode = R::encode_row,
                  .accumulate = accumulate_of<kId>()};
});

constexpr bool gguf_types_differ() {
    for (const Format& a : kTable.entries) {
        for (const Format& b : kTable.entries) {
            if (a.id != b.id && a.in_gguf() && a.gguf_type == b.gguf_type) return false;
        }
    }
    return true;
}
static_assert(gguf_types_differ());

constexpr auto kPointers =
    format_table<const Format*>([]<FormatId kId>() { return &kTable.entries[static_cast<int>(kId)]; });

template <class Predicate>
const Format* find_format(Predicate fits) {
    const Format* found = std::find_if(std::begin(kTable.entries), std::end(kTable.entries), fits);
    return found == std::end(kTable.entries) ? nullptr : found;
}

}  // namespace

const Format& format(FormatId id) {
    CHECK(static_cast<int>(id) < kFormatCount, "a FormatId is one of the enumerators");
    return kTable.entries[static_cast<int>(id)];
}

std::span<const Format* const> formats() { return kPointers.entries; }

const Format* find_format_by_gguf_type(uint32_t gguf_type) {
    return find_format([=](const Format& row) { return row.in_gguf() && row.gguf_type == gguf_type; });
}

const Format* find_format_by_name(std::string_view name) {
    return find_format([=](const Format& row) { return row.name == name; });
}

float dot_quantized(const Format& format, const std::byte* row, const QuantizedBlock* x, int64_t columns) {
    CHECK(!format.is_float && columns >= 0 && columns % format.block_weights == 0, "quantised rows are whole blocks");
    Strands strands;
    for (int64_t column = 0; column < columns; column += format.block_weights, row += format.block_bytes) {
        const int64_t block = column / kDotBlock;
        format.accumulate(row, x + block, block, strands);
    }
    return strands.total();
}

float dot_float(const Format& format, const std::byte* row, const float* x, int64_t columns) {
    CHECK(format.is_float && columns >= 0, "float rows have elements");
    Strands strands;
    for (int64_t column = 0; column < columns; row += format.block_bytes) {
        for (int i = 0; i < format.block_weights && column < columns; ++i, ++column) {
            float& s = strands.of_block(column / kDotBlock);
            s = std::fma(format.weight(row, i), x[column], s);
        }
    }
    return strands.total();
}

}  // namespace invar
