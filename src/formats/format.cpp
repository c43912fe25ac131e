// The table of weight formats: one line each. A line names the folder's Block; what the Block means, its encoder and
// its strand step are in formats/NAME/. Also the dot law over whole rows, which is the same for every format.
#include "formats/format.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/check.h"
#include "formats/bf16/bf16.h"
#include "formats/f16/f16.h"
#include "formats/f32/f32.h"
#include "formats/iq4_nl/iq4_nl.h"
#include "formats/iq4_xs/iq4_xs.h"
#include "formats/mxfp4/mxfp4.h"
#include "formats/nvfp4/nvfp4.h"
#include "formats/q2_k/q2_k.h"
#include "formats/q3_k/q3_k.h"
#include "formats/q4_0/q4_0.h"
#include "formats/q4_1/q4_1.h"
#include "formats/q4_k/q4_k.h"
#include "formats/q5_0/q5_0.h"
#include "formats/q5_1/q5_1.h"
#include "formats/q5_k/q5_k.h"
#include "formats/q6_k/q6_k.h"
#include "formats/q8_0/q8_0.h"

namespace invar {
namespace {

// The functions of a Format for one Block type. They find weight(), encode() and accumulate() in the Block's namespace.
template <class Block>
struct Row {
    static const Block& block(const std::byte* bytes) { return *reinterpret_cast<const Block*>(bytes); }  // alignment 1

    static float weight_of(const std::byte* bytes, int i) { return weight(block(bytes), i); }

    static void decode_row(const std::byte* row, int64_t count, float* out) {
        CHECK(count >= 0 && count % Block::kWeights == 0, "rows are decoded in whole blocks");
        for (int64_t start = 0; start < count; start += Block::kWeights, row += sizeof(Block)) {
            for (int i = 0; i < Block::kWeights; ++i) out[start + i] = weight(block(row), i);
        }
    }

    static void encode_row(const float* in, int64_t count, const float* importance, std::byte* row) {
        CHECK(count >= 0 && count % Block::kWeights == 0, "rows are encoded in whole blocks");
        for (int64_t start = 0; start < count; start += Block::kWeights, row += sizeof(Block)) {
            const float* columns = importance == nullptr ? nullptr : importance + start;
            encode(in + start, columns, *reinterpret_cast<Block*>(row));
        }
    }

    static void accumulate_block(const std::byte* bytes, const QuantisedBlock* x, int64_t first_block,
                                 Strands& strands) {
        accumulate(block(bytes), x, first_block, strands);
    }
};

template <class Block>
constexpr Format float_format(FormatId id, std::string_view name, uint32_t gguf_type) {
    using R = Row<Block>;
    return {.id = id,
            .name = name,
            .gguf_type = gguf_type,
            .block_weights = Block::kWeights,
            .block_bytes = sizeof(Block),
            .is_float = true,
            .weight = R::weight_of,
            .decode = R::decode_row,
            .encode = R::encode_row,
            .accumulate = nullptr};
}

template <class Block>
constexpr Format quantised_format(FormatId id, std::string_view name, uint32_t gguf_type) {
    static_assert(Block::kWeights % kDotBlock == 0 && alignof(Block) == 1);
    Format format = float_format<Block>(id, name, gguf_type);
    format.is_float = false;
    format.accumulate = Row<Block>::accumulate_block;
    return format;
}

using enum FormatId;

constexpr Format kTable[kFormatCount] = {
    // FormatId, name, type number in GGUF files
    float_format<f32::Block>(f32, "f32", 0),
    float_format<f16::Block>(f16, "f16", 1),
    float_format<bf16::Block>(bf16, "bf16", 30),
    quantised_format<q4_0::Block>(q4_0, "q4_0", 2),
    quantised_format<q4_1::Block>(q4_1, "q4_1", 3),
    quantised_format<q5_0::Block>(q5_0, "q5_0", 6),
    quantised_format<q5_1::Block>(q5_1, "q5_1", 7),
    quantised_format<q8_0::Block>(q8_0, "q8_0", 8),
    quantised_format<q2_k::Block>(q2_k, "q2_k", 10),
    quantised_format<q3_k::Block>(q3_k, "q3_k", 11),
    quantised_format<q4_k::Block>(q4_k, "q4_k", 12),
    quantised_format<q5_k::Block>(q5_k, "q5_k", 13),
    quantised_format<q6_k::Block>(q6_k, "q6_k", 14),
    quantised_format<iq4_nl::Block>(iq4_nl, "iq4_nl", 20),
    quantised_format<iq4_xs::Block>(iq4_xs, "iq4_xs", 23),
    quantised_format<mxfp4::Block>(mxfp4, "mxfp4", 39),
    quantised_format<nvfp4::Block>(nvfp4, "nvfp4", 40),
};

constexpr bool lines_stand_in_id_order() {
    for (int i = 0; i < kFormatCount; ++i) {
        if (static_cast<int>(kTable[i].id) != i) return false;
    }
    return true;
}
static_assert(lines_stand_in_id_order());

constexpr auto kPointers = [] {
    std::array<const Format*, kFormatCount> pointers{};
    for (int i = 0; i < kFormatCount; ++i) pointers[i] = &kTable[i];
    return pointers;
}();

template <class Predicate>
const Format* find_format(Predicate fits) {
    const Format* found = std::find_if(std::begin(kTable), std::end(kTable), fits);
    return found == std::end(kTable) ? nullptr : found;
}

}  // namespace

const Format& format(FormatId id) {
    CHECK(static_cast<int>(id) < kFormatCount, "a FormatId is one of the enumerators");
    return kTable[static_cast<int>(id)];
}

std::span<const Format* const> formats() { return kPointers; }

const Format* find_format_by_gguf_type(uint32_t gguf_type) {
    return find_format([=](const Format& row) { return row.gguf_type == gguf_type; });
}

const Format* find_format_by_name(std::string_view name) {
    return find_format([=](const Format& row) { return row.name == name; });
}

float dot_quantised(const Format& format, const std::byte* row, const QuantisedBlock* x, int64_t columns) {
    CHECK(!format.is_float && columns >= 0 && columns % format.block_weights == 0, "quantised rows are whole blocks");
    Strands strands;
    for (int64_t column = 0; column < columns; column += format.block_weights, row += format.block_bytes) {
        const int64_t block = column / kDotBlock;
        format.accumulate(row, x + block, block, strands);
    }
    return strands.total();
}

float dot_float(const Format& format, const std::byte* row, const float* x, int64_t columns) {
    CHECK(format.is_float && columns >= 0, "float rows have any number of columns");
    Strands strands;
    for (int64_t column = 0; column < columns; ++column) {
        float& s = strands.of_block(column / kDotBlock);
        s = std::fma(format.weight(row + column * format.block_bytes, 0), x[column], s);
    }
    return strands.total();
}

}  // namespace invar
