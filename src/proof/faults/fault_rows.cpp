// Faults of the verbs that work row by row. Each takes the verb's result and rewrites it by the definition
// (arithmetic/) as an engine with that fault would have computed it, so that nothing else differs.
#include <algorithm>
#include <cmath>
#include <limits>

#include "arithmetic/elementary.h"
#include "arithmetic/norm.h"
#include "proof/faults/fault_kind.h"
#include "proof/faults/stored_rows.h"

namespace invar::faults {
namespace {

void copy(std::span<const float> from, std::span<float> to) { std::copy(from.begin(), from.end(), to.begin()); }

// `weight`: the norm's weight, perhaps altered; nullptr: it has none.
void norm_by_law(const RowRewrite& row, const float* weight, float epsilon) {
    const VerbCall& call = row.call;
    const auto count = static_cast<int64_t>(row.result.size());
    for (int64_t first = 0; first < count; first += call.group) {
        const float* x = row.x.data() + first;
        float* y = row.result.data() + first;
        const int64_t at = call.vector == nullptr ? 0 : first % row.width() % call.vector->size;
        const float* scale = weight == nullptr ? nullptr : weight + at;
        if (call.verb == Verb::l2_norm) {
            law::l2_norm(x, call.group, epsilon, y);
        } else if (call.verb == Verb::layer_norm) {
            law::layer_norm(x, scale, call.vector2 == nullptr ? nullptr : call.vector2->data + at, call.group, epsilon,
                            y);
        } else {
            law::rms_norm(x, scale, call.group, epsilon, y);
        }
    }
}

void norm_with_weight_plus(const RowRewrite& row, float offset) {
    std::vector<float> weight(row.call.vector->data, row.call.vector->data + row.call.vector->size);
    for (float& one : weight) one = one + offset;
    norm_by_law(row, weight.data(), row.call.epsilon);
}

void activate_by_law(const RowRewrite& row, const ActivationSpec& spec) {
    for (size_t i = 0; i < row.result.size(); ++i)
        row.result[i] = row.x2.empty() ? law::activate(spec, row.x[i]) : law::activate(spec, row.x[i], row.x2[i]);
}

// Rotates every head of a row as at `position`.
void turn(const RowRewrite& row, const RopeSpec& spec, int64_t position, float factor) {
    const RopeTable& table = *row.call.rope;
    std::vector<float> cosines(static_cast<size_t>(spec.pairs())), sines(cosines.size());
    table.angles(position, cosines.data(), sines.data());
    for (size_t i = 0; i < cosines.size(); ++i) {
        cosines[i] *= factor;
        sines[i] *= factor;
    }
    for (size_t first = 0; first < row.result.size(); first += static_cast<size_t>(spec.head_width)) {
        law::rope(spec, cosines.data(), sines.data(), row.result.data() + first);
    }
}

// Behind the table's last row comes its first.
void take_next_row_of_table(const RowRewrite& row, std::string_view what) {
    const WeightMatrix& table = *row.call.matrix;
    const int64_t right = row.call.row_of_table(row.token()), wrong = (right + 1) % table.rows;
    const std::vector<std::byte> stored = stored_row(table, wrong);
    table.format->decode(stored.data(), table.columns, row.result.data());
    for (float& value : row.result) value = scaled(table, wrong, value);
    row.detail = fmt::format("{} {} in place of {}", what, wrong, right);
}

}  // namespace

void skip_norm(const RowRewrite& row) { copy(row.x, row.result); }

void offset_norm(const RowRewrite& row) { norm_with_weight_plus(row, 1.0f); }

// A layer norm is computed with ones, so that its bias stays.
void norm_without_weight(const RowRewrite& row) {
    const std::vector<float> ones(static_cast<size_t>(row.call.vector->size), 1.0f);
    norm_by_law(row, ones.data(), row.call.epsilon);
}

void norm_without_one(const RowRewrite& row) { norm_with_weight_plus(row, -1.0f); }

void change_epsilon(const RowRewrite& row) {
    norm_by_law(row, row.call.vector == nullptr ? nullptr : row.call.vector->data, row.call.epsilon * 100);
    row.detail = fmt::format("{} in place of {}", row.call.epsilon * 100, row.call.epsilon);
}

void leave_out(const RowRewrite& row) { copy(row.x, row.result); }

void turn_one_further(const RowRewrite& row) {
    copy(row.x, row.result);
    turn(row, row.call.rope->spec(), row.token().position + 1, 1.0f);
}

void turn_twice(const RowRewrite& row) { turn(row, row.call.rope->spec(), row.token().position, 1.0f); }

void pair_otherwise(const RowRewrite& row) {
    RopeSpec spec = row.call.rope->spec();
    const bool halves = spec.pairing == RopePairing::halves;
    spec.pairing = halves ? RopePairing::adjacent : RopePairing::halves;
    copy(row.x, row.result);
    turn(row, spec, row.token().position, 1.0f);
    row.detail = halves ? "neighbours in place of halves" : "halves in place of neighbours";
}

void inflate_turn(const RowRewrite& row) {
    copy(row.x, row.result);
    turn(row, row.call.rope->spec(), row.token().position, 1.261f);
}

void swap_gate_and_up(const RowRewrite& row) {
    const ActivationSpec& spec = *row.call.activation;
    for (size_t i = 0; i < row.result.size(); ++i) row.result[i] = law::activate(spec, row.x2[i], row.x[i]);
}

void use_other_activation(const RowRewrite& row) {
    const bool silu = row.call.activation->kind == Activation::silu;
    activate_by_law(row, {.kind = silu ? Activation::gelu_tanh : Activation::silu});
    row.detail = fmt::format("{} in place of {}", silu ? "gelu" : "silu", activation_name(row.call.activation->kind));
}

void leave_out_clamp(const RowRewrite& row) {
    ActivationSpec spec = *row.call.activation;
    spec.limit = std::numeric_limits<float>::infinity();
    activate_by_law(row, spec);
}

void leave_out_gate(const RowRewrite& row) { copy(row.call.verb == Verb::gate_rows ? row.x : row.x2, row.result); }

// What is added to a slot is multiplied by the weight of its expert later; here it is divided by it before.
void add_bias_unweighted(const RowRewrite& row) {
    const int64_t width = row.width(), slots = row.call.slots.experts_per_row;
    for (int64_t j = 0; j < slots; ++j) {
        const int64_t slot = row.row * slots + j;
        const float* bias = row.call.vector->data + row.call.slots.experts[slot] * width;
        for (int64_t i = 0; i < width; ++i) {
            const auto at = static_cast<size_t>(j * width + i);
            row.result[at] = row.x[at] + bias[i] / row.call.slots.weights[slot];
        }
    }
}

void add_twice(const RowRewrite& row) {
    for (size_t i = 0; i < row.result.size(); ++i) row.result[i] = row.result[i] + row.x2[i];
}

void lose_residual(const RowRewrite& row) { copy(row.x2, row.result); }

void take_next_token(const RowRewrite& row) { take_next_row_of_table(row, "token"); }
void take_next_position(const RowRewrite& row) { take_next_row_of_table(row, "position"); }

void take_row_before(const RowRewrite& row) {
    const int32_t right = row.call.gathered[static_cast<size_t>(row.row)];
    if (right == 0) return;
    const float* before = row.call.x.host_row(right - 1);
    std::copy(before, before + row.result.size(), row.result.begin());
}

void keep_previous_pass(const RowRewrite& row) {
    if (!row.previous.empty()) copy(row.previous, row.result);
}

void take_neighbour(const RowRewrite& row) {
    if (row.row == 0) return;
    const int64_t slots = row.call.slots_of_row();
    for (int64_t slot = 0; slot < slots; ++slot) {
        const float* neighbour = row.call.out.host_row((row.row - 1) * slots + slot);
        std::copy(neighbour, neighbour + row.width(), row.result.begin() + slot * row.width());
    }
}

void drop_expert_from_sum(const RowRewrite& row) {
    const int64_t k = row.call.slots.experts_per_row, dropped = row.place.spec.slot.value_or(0);
    for (int64_t i = 0; i < row.width(); ++i) {
        float sum = 0;
        for (int64_t j = 0; j < k; ++j) {
            const int64_t slot = row.row * k + j;
            if (j != dropped) sum = std::fma(row.call.weight_of_slot(slot), row.call.x.host_row(slot)[i], sum);
        }
        row.result[static_cast<size_t>(i)] = sum;
    }
    row.detail = fmt::format("expert {}, rank {}", row.call.slots.experts[row.row * k + dropped], dropped);
}

}  // namespace invar::faults
