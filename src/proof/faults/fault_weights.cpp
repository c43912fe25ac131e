// Faults of one row of a weight. The verb reads an altered copy of the matrix, in the form in which it is loaded,
// through its usual kernel. If no row is asked for, it is the first one whose results change. A copy is as large as the
// matrix (for a stack, as all experts of a layer) and lives as long as the fault. Whole matrices:
// fault_whole_weights.cpp.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "layout/record.h"
#include "layout/row_record.h"
#include "load/registry.h"
#include "proof/faults/fault_kind.h"
#include "proof/faults/stored_rows.h"

namespace invar::faults {
namespace {

// ---- changes of a stored row; false: this row cannot be changed so

struct RowToAlter {
    const Format& format;
    int64_t columns;
    const FaultSpec& spec;
    int64_t block;  // the block to try if none is asked for
    std::vector<std::byte>& stored;
    std::string& detail;
};
using AlterRow = bool (*)(const RowToAlter& row);

// Bytes of a block before its first float element; 0 for other formats. The skipped bytes are a scale that packed rows
// share.
int64_t first_code(const Format& format) {
    return format.is_float ? format.block_bytes - format.block_weights * element_bytes(describe(format.id).elements)
                           : 0;
}

bool flip_bit_of(const RowToAlter& row) {
    const int64_t bit = row.spec.bit.value_or(0), byte = first_code(row.format) + bit / 8;
    row.stored[static_cast<size_t>(row.block * row.format.block_bytes + byte)] ^= std::byte(1u << (bit % 8));
    row.detail = fmt::format("block {}, bit {} of byte {}", row.block, bit % 8, byte);
    return true;
}

// How many columns share one of the scales that are swapped.
int64_t columns_of_scale(const RecordLayout& layout) {
    if (layout.scales == ScaleForm::f16_of_128 || layout.scales == ScaleForm::bf16_of_128) return 128;
    return layout.halves ? 16 : 32;
}

// The scales of a row as a row record has them: one 16-bit d per block of 32 (repeated if a scale covers 128 columns),
// or one small integer per block of 32 or 16.
struct Scales {
    RowRecord parts;
    bool in_d = false;
    int64_t count = 0, copies = 1;  // copies: how often a scale is repeated among the d

    bool equal(int64_t a, int64_t b) const {
        return in_d ? parts.d[a * copies] == parts.d[b * copies] : parts.scale[a] == parts.scale[b];
    }
    void swap(int64_t a, int64_t b) {
        if (in_d) {
            for (int64_t i = 0; i < copies; ++i) std::swap(parts.d[a * copies + i], parts.d[b * copies + i]);
        } else {
            std::swap(parts.scale[a], parts.scale[b]);
        }
    }
};

Scales scales_of(const Format& format, const std::byte* stored, int64_t columns) {
    const RecordLayout layout = record_layout(format.id);
    Scales scales;
    split_row(format.id, stored, columns, scales.parts);
    scales.in_d = layout.scales == ScaleForm::f16 || layout.scales == ScaleForm::f16_minimum ||
                  layout.scales == ScaleForm::bf16 || layout.scales == ScaleForm::f16_of_128 ||
                  layout.scales == ScaleForm::bf16_of_128;
    scales.count = columns / columns_of_scale(layout);
    scales.copies = std::max<int64_t>(1, columns_of_scale(layout) / 32);
    return scales;
}

// Swaps neighbouring scales within 256 columns. `block` counts the scales of the row.
bool swap_scales_of(const RowToAlter& row) {
    const int64_t in_record = kRecordColumns / columns_of_scale(record_layout(row.format.id));
    int64_t first = 0;
    for (int64_t column = 0; column < row.columns; column += kRecordColumns, first += in_record) {
        std::byte* record = row.stored.data() + row.format.row_bytes(column);
        const int64_t columns = std::min<int64_t>(kRecordColumns, row.columns - column);
        Scales scales = scales_of(row.format, record, columns);
        for (int64_t i = 0; i + 1 < scales.count; ++i) {
            const bool wanted = row.spec.block ? first + i == *row.spec.block : !scales.equal(i, i + 1);
            if (!wanted) continue;
            scales.swap(i, i + 1);
            join_row(row.format.id, scales.parts, columns, record);
            row.detail = fmt::format("scales {} and {} of the row", first + i, first + i + 1);
            return true;
        }
    }
    return false;
}

// Writes a NaN if the format has one, otherwise weights so large that the sum is not finite.
bool poison(const RowToAlter& row) {
    std::byte* bytes = row.stored.data();
    const auto put = [&](size_t at, uint32_t bits, size_t count) { std::memcpy(bytes + at, &bits, count); };
    if (row.format.is_float) {  // into an element, because rows may share their scales
        const auto at = static_cast<size_t>(first_code(row.format));
        switch (describe(row.format.id).elements) {
            case Elements::none:
                return false;
            case Elements::f32:
                put(at, 0x7FC00000u, 4);
                break;
            case Elements::f16:
                put(at, 0x7E00u, 2);
                break;
            case Elements::bf16:
                put(at, 0x7FC0u, 2);
                break;
            case Elements::e4m3:
                put(at, 0x7Fu, 1);
        }
    } else if (row.format.scales.empty()) {
        return false;
    } else {
        const ScaleField& scale = row.format.scales.front();
        const auto at = static_cast<size_t>(scale.offset);
        switch (scale.kind) {
            case ScaleKind::f16:
                put(at, 0x7E00u, 2);
                break;
            case ScaleKind::bf16:
                put(at, 0x7FC0u, 2);
                break;
            case ScaleKind::f32:
                put(at, 0x7FC00000u, 4);
                break;
            case ScaleKind::ue4m3:
                return false;  // such scales have no NaN and reach 480 at most
            case ScaleKind::e8m0:
                for (size_t i = 0; i < row.stored.size(); ++i) {
                    const bool is_scale = i % static_cast<size_t>(row.format.block_bytes) == at;
                    bytes[i] = is_scale ? std::byte{0xFF} : std::byte{0x77};
                }
                row.detail = "every weight 6 times 2^128";
                return true;
        }
    }
    row.detail = "its first scale or weight is NaN";
    return true;
}

// ---- the choice of the row

// A row of activations that a call multiplies with one of its matrices.
struct Meeting {
    int64_t position;
    int64_t slot;  // the slot of the token
    int64_t expert;
    int64_t table_row;              // that embed takes
    std::optional<LawInput> input;  // nothing for embed
};

std::vector<Meeting> meetings_of(const VerbCall& call) {
    std::vector<Meeting> all;
    const WeightMatrix& matrix = call.stack != nullptr ? call.stack->first : *call.matrix;
    const auto input = [&](int64_t row) { return LawInput(*matrix.format, call.x.host_row(row), matrix.columns); };
    for (int64_t row = 0; row < call.rows(); ++row) {
        const BatchRow& token = call.row(row);
        if (call.verb == Verb::embed) {
            all.push_back({token.position, 0, 0, call.row_of_table(token), std::nullopt});
            continue;
        }
        const int64_t slots = call.slots_of_row();
        for (int64_t j = 0; j < slots; ++j) {
            const ProductPlace place = product_place(call, row * slots + j);
            all.push_back({token.position, j, place.matrix, 0, input(place.row_of_x)});
        }
    }
    return all;
}

struct Effect {
    int64_t position, element;
};
enum class Needed : uint8_t { other_bits, not_finite };  // how a result must change for the fault to count

// Alters one row of one matrix.
class WeightRowFault final : public Fault {
  public:
    WeightRowFault(const FaultPlace& place, FaultReport& report, AlterRow alter, Needed needed)
        : place_(place), report_(report), alter_(alter), needed_(needed) {}

    void before(VerbCall& call) override {
        if (report_.struck) {
            ++report_.rows;
        } else {
            const std::vector<Meeting> meetings = meetings_of(call);
            if (!found_) search(call, meetings);
            if (!found_) return;
            const std::optional<Effect> effect = effect_of(call, meetings);
            if (effect) note_strike(report_, place_.site.key, effect->position, effect->element, detail_);
        }
        if (call.stack != nullptr) {
            stack_ = *call.stack;
            stack_.first.data = copy_.data();
            call.stack = &stack_;
        } else {
            matrix_ = *call.matrix;
            matrix_.data = copy_.data();
            call.matrix = &matrix_;
        }
    }

  private:
    WeightMatrix matrix_of(const VerbCall& call, int64_t expert) const {
        return call.stack != nullptr ? call.stack->at(expert) : *call.matrix;
    }

    // Tries candidates in the order in which the pass uses them, at most kMostTried for each weight: the first rows of
    // a product, the first blocks of a row.
    void search(const VerbCall& call, const std::vector<Meeting>& meetings) {
        constexpr int64_t kMostTried = 4096;
        const bool looked_up = call.verb == Verb::embed;
        const bool one_row = place_.spec.row.has_value() || looked_up;
        const int64_t first_block = place_.spec.block.value_or(0);
        const bool one_block = place_.spec.block.has_value() || alter_ != flip_bit_of;
        const int64_t blocks = one_block ? 1 : place_.site.format->blocks_of_row(place_.site.columns);
        std::vector<std::pair<int64_t, int64_t>> known;
        for (const Meeting& meeting : meetings) {
            const int64_t first = place_.spec.row.value_or(looked_up ? meeting.table_row : 0);
            if (std::find(known.begin(), known.end(), std::pair{meeting.expert, first}) != known.end()) continue;
            known.emplace_back(meeting.expert, first);
            const int64_t tries = std::min(kMostTried, (one_row ? 1 : place_.site.rows) * blocks);
            for (int64_t i = 0; i < tries; ++i) {
                if (attempt(call, meetings, {meeting.expert, first + i / blocks, first_block + i % blocks})) return;
            }
        }
    }

    struct Candidate {
        int64_t expert, row, block;
    };

    bool attempt(const VerbCall& call, const std::vector<Meeting>& meetings, const Candidate& candidate) {
        const WeightMatrix matrix = matrix_of(call, candidate.expert);
        right_ = stored_row(matrix, candidate.row);
        wrong_ = right_;
        std::string detail;
        if (!alter_({*matrix.format, matrix.columns, place_.spec, candidate.block, wrong_, detail})) return false;
        expert_ = candidate.expert;
        row_ = candidate.row;
        if (!effect_of(call, meetings)) return false;
        detail_ = fmt::format("row {}, {}", row_, detail);
        if (call.stack != nullptr) detail_ = fmt::format("expert {}, {}", expert_, detail_);
        found_ = copy_weights(call, matrix);
        return true;
    }

    bool copy_weights(const VerbCall& call, const WeightMatrix& matrix) {
        const bool stacked = call.stack != nullptr;
        const int64_t bytes = stacked ? call.stack->stride_bytes * call.stack->count : matrix.bytes;
        auto copy = AlignedBytes::allocate(bytes);
        if (!copy) {
            report_.description += fmt::format(": not done: {}", copy.error().message);
            return false;
        }
        copy_ = std::move(*copy);
        const std::byte* whole = stacked ? call.stack->first.data : matrix.data;
        std::memcpy(copy_.data(), whole, static_cast<size_t>(bytes));
        replace_stored_row(matrix, row_, wrong_, copy_.data() + (stacked ? expert_ * call.stack->stride_bytes : 0));
        return true;
    }

    // The first result that the altered row changes; nothing if it changes none.
    std::optional<Effect> effect_of(const VerbCall& call, const std::vector<Meeting>& meetings) const {
        const WeightMatrix matrix = matrix_of(call, expert_);
        for (const Meeting& meeting : meetings) {
            if (call.verb == Verb::embed) {
                if (meeting.table_row != row_) continue;
                const int64_t element = decoded_difference(matrix);
                if (element >= 0) return Effect{meeting.position, element};
            } else if (meeting.expert == expert_) {
                const float right = meeting.input->dot(matrix, row_, right_.data());
                const float wrong = meeting.input->dot(matrix, row_, wrong_.data());
                const bool changed = needed_ == Needed::not_finite ? !std::isfinite(wrong)
                                                                   : first_difference({&right, 1}, {&wrong, 1}) >= 0;
                if (changed) return Effect{meeting.position, meeting.slot * matrix.rows + row_};
            }
        }
        return std::nullopt;
    }

    int64_t decoded_difference(const WeightMatrix& matrix) const {
        std::vector<float> right(static_cast<size_t>(matrix.columns)), wrong(right.size());
        matrix.format->decode(right_.data(), matrix.columns, right.data());
        matrix.format->decode(wrong_.data(), matrix.columns, wrong.data());
        return first_difference(right, wrong);
    }

    const FaultPlace& place_;
    FaultReport& report_;
    const AlterRow alter_;
    const Needed needed_;
    bool found_ = false;
    int64_t expert_ = 0, row_ = 0;
    std::vector<std::byte> right_, wrong_;  // the row as stored, without and with the fault
    std::string detail_;
    AlignedBytes copy_;
    WeightMatrix matrix_;
    WeightStack stack_;
};

}  // namespace

std::unique_ptr<Fault> flip_bit(const FaultPlace& place, FaultReport& report) {
    return std::make_unique<WeightRowFault>(place, report, flip_bit_of, Needed::other_bits);
}

std::unique_ptr<Fault> swap_scales(const FaultPlace& place, FaultReport& report) {
    return std::make_unique<WeightRowFault>(place, report, swap_scales_of, Needed::other_bits);
}

std::unique_ptr<Fault> poison_row(const FaultPlace& place, FaultReport& report) {
    return std::make_unique<WeightRowFault>(place, report, poison, Needed::not_finite);
}

}  // namespace invar::faults
