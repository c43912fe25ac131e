#include "proof/reference64/float64_verb.h"

#include <algorithm>
#include <deque>
#include <limits>

#include "ops/visible_rows.h"
#include "proof/record/cache_rows.h"
#include "proof/reference64/float64_recurrence.h"
#include "proof/reference64/float64_rows.h"

namespace invar {
namespace {

using Row = std::vector<double>;

Row widened(const Tensor& tensor, int64_t row) { return {tensor.host_row(row), tensor.host_row(row) + tensor.width()}; }

Row product(const WeightMatrix& matrix, Row x, float64::Activations activations) {
    if (activations == float64::Activations::quantized && !matrix.format->is_float)
        x = float64::quantized(x.data(), matrix.columns);
    Row y(static_cast<size_t>(matrix.rows));
    const double* from = x.data();
    double* to = y.data();
    float64::ProductRoom room;
    float64::multiply(
        {.matrix = matrix, .first = 0, .count = matrix.rows, .x = std::span(&from, 1), .y = std::span(&to, 1)}, room);
    return y;
}

Row by_rows(const VerbCall& call, const VerbInputs& inputs, int64_t row, float64::RowBody body) {
    std::deque<Row> widened_rows;
    const auto row_of_input = [&](const Tensor& tensor) {
        return [&tensor, &widened_rows](int64_t at) -> const double* {
            return widened_rows.emplace_back(widened(tensor, at)).data();
        };
    };
    const auto x = row_of_input(inputs.x()), x2 = row_of_input(inputs.x2());
    const auto slot_weight = [&](int64_t slot) { return double{inputs.slots().weights[slot]}; };
    const auto slot_expert = [&](int64_t slot) { return inputs.slots().experts[slot]; };
    Row y(static_cast<size_t>(call.out.width()));
    float64::RowDecoder decoder;
    body({.call = call,
          .row = row,
          .x = x,
          .x2 = x2,
          .slot_weight = slot_weight,
          .slot_expert = slot_expert,
          .decoder = decoder},
         y.data());
    return y;
}

// Computes attention of one query row over the cache as it is stored.
class StoredAttention {
  public:
    StoredAttention(const VerbCall& call, const VerbInputs& inputs, int64_t row)
        : cache_(*call.cache_read),
          spec_(*call.attention),
          geometry_(cache_.layers()[static_cast<size_t>(spec_.layer)]),
          token_(call.batch->rows[static_cast<size_t>(row)]),
          query_(widened(inputs.x(), row)) {
        const auto width = static_cast<size_t>(std::max(geometry_.key_width, geometry_.value_width));
        stored_.resize(width);
        wide_.resize(width);
        head_ = {.key_width = geometry_.key_width,
                 .value_width = geometry_.value_width,
                 .scale = float64::meant_scale(spec_.scale, geometry_.key_width),
                 .softcap = spec_.softcap,
                 .visible = VisibleRows(geometry_, *call.batch).of(row)};
        sinks_ = call.vector == nullptr ? nullptr : call.vector->data;
    }

    Row result() {
        Row out(static_cast<size_t>(spec_.heads * head_.value_width)), scores;
        for (int head = 0; head < spec_.heads; ++head) {
            if (sinks_ != nullptr) head_.sink = sinks_ + head;
            float64::attend(
                head_, query_.data() + head * head_.key_width, [&](int64_t p) { return key(p, head); },
                [&](int64_t p) { return value(p, head); }, scores, out.data() + head * head_.value_width);
        }
        return out;
    }

    Row scores() {
        const int64_t positions = head_.visible.last;
        Row all(static_cast<size_t>(spec_.heads * positions), -std::numeric_limits<double>::infinity()), scores;
        for (int head = 0; head < spec_.heads; ++head) {
            float64::attention_scores(
                head_, query_.data() + head * head_.key_width, [&](int64_t p) { return key(p, head); }, scores);
            std::copy(scores.begin(), scores.end(), all.begin() + head * positions + head_.visible.first);
        }
        return all;
    }

  private:
    CachePlace place(int64_t position, int head) const {
        return {spec_.layer, token_.sequence, position, head / (spec_.heads / geometry_.kv_heads)};
    }
    const double* key(int64_t position, int head) {
        read_key(cache_, place(position, head), stored_.data());
        std::copy_n(stored_.begin(), geometry_.key_width, wide_.begin());
        return wide_.data();
    }
    const double* value(int64_t position, int head) {
        read_value(cache_, place(position, head), stored_.data());
        std::copy_n(stored_.begin(), geometry_.value_width, wide_.begin());
        return wide_.data();
    }

    const SequenceState& cache_;
    const AttentionCall& spec_;
    const KvGeometry& geometry_;
    const BatchRow& token_;
    Row query_;
    float64::AttentionHead head_;
    const float* sinks_ = nullptr;
    std::vector<float> stored_;
    Row wide_;
};

float64::Routing routing(const VerbCall& call, const VerbInputs& inputs, int64_t row) {
    const Row logits = widened(inputs.x(), row);
    return float64::route(logits.data(), static_cast<int64_t>(logits.size()), *call.route,
                          call.vector == nullptr ? nullptr : call.vector->data,
                          call.vector2 == nullptr ? nullptr : call.vector2->data);
}

// Runs the recurrence from the state before the call over the rows of the row's sequence up to it.
Row recurrence(const VerbCall& call, const VerbInputs& inputs, int64_t row) {
    const int32_t sequence = call.batch->rows[static_cast<size_t>(row)].sequence;
    const std::vector<float>& before = inputs.state(sequence);
    Row state(before.begin(), before.end()), y(static_cast<size_t>(call.out.width()));
    for (int64_t at = 0; at <= row; ++at) {
        if (call.batch->rows[static_cast<size_t>(at)].sequence != sequence) continue;
        const Row x = widened(inputs.x(), at);
        const Row x2 = inputs.x2().rows() == 0 ? Row() : widened(inputs.x2(), at);
        float64::step_recurrence(call, x.data(), x2.data(), state, y.data());
    }
    return y;
}

int64_t rows_of(const VerbCall& call, const VerbInputs& inputs) {
    return row_of(call.verb).makes(verb_field::out) ? call.out.rows() : inputs.x().rows();
}

Result<void> check_row(const VerbCall& call, const VerbInputs& inputs, int64_t row) {
    if (row >= 0 && row < rows_of(call, inputs)) return {};
    return fail("row {} of {} ({}) was asked for, but the call has rows 0 to {}", row, call.stage.name,
                verb_name(call.verb), rows_of(call, inputs) - 1);
}

}  // namespace

VerbInputs VerbInputs::copy_of(const VerbCall& call) {
    VerbInputs inputs;
    const auto copy = [&](const Tensor& tensor) -> Tensor {
        if (tensor.rows() == 0) return {};
        std::vector<float>& values = inputs.floats_.emplace_back(static_cast<size_t>(tensor.rows() * tensor.width()));
        for (int64_t row = 0; row < tensor.rows(); ++row)
            std::copy_n(tensor.host_row(row), tensor.width(), values.data() + row * tensor.width());
        return {values.data(), Place::host, tensor.rows(), tensor.width(), tensor.width()};
    };
    inputs.x_ = copy(call.x);
    inputs.x2_ = copy(call.x2);
    if (call.recurrence) {
        for (const BatchRow& row : call.batch->rows) {
            if (inputs.states_.contains(row.sequence)) continue;
            const std::span<const float> state = call.cache_read->recurrence(row.sequence, call.cache_layer);
            inputs.states_[row.sequence].assign(state.begin(), state.end());
        }
    }
    // route writes its slots, and their contents before it are undefined.
    if (call.slots.rows > 0 && call.verb != Verb::route) {
        const int64_t count = call.slots.rows * call.slots.experts_per_row;
        inputs.experts_.assign(call.slots.experts, call.slots.experts + count);
        inputs.slots_ = {
            .rows = call.slots.rows, .experts_per_row = call.slots.experts_per_row, .experts = inputs.experts_.data()};
        inputs.slots_.weights = inputs.floats_.emplace_back(call.slots.weights, call.slots.weights + count).data();
        inputs.slots_.margins =
            inputs.floats_.emplace_back(call.slots.margins, call.slots.margins + call.slots.rows).data();
    }
    return inputs;
}

Result<std::vector<double>> float64_of(const VerbCall& call, const VerbInputs& inputs, int64_t row,
                                       float64::Activations activations) {
    TRY(check_row(call, inputs, row));
    if (const float64::RowBody body = float64::row_body(call.verb)) return by_rows(call, inputs, row, body);
    switch (call.verb) {
        case Verb::linear:
            return product(*call.matrix, widened(inputs.x(), row), activations);
        case Verb::store_kv: {
            Row y = widened(inputs.x(), row);
            const Row values = widened(inputs.x2(), row);
            y.insert(y.end(), values.begin(), values.end());
            return y;
        }
        case Verb::attention:
            return StoredAttention(call, inputs, row).result();
        case Verb::route:
            return routing(call, inputs, row).weights;
        case Verb::expert_linear: {
            const ExpertSlots& slots = inputs.slots();
            const int64_t from = call.slot_input == SlotInput::slot ? row : row / slots.experts_per_row;
            return product(call.stack->at(slots.experts[row]), widened(inputs.x(), from), activations);
        }
        case Verb::head_linear:
            return product(call.stack->at(row % call.stack->count), widened(inputs.x(), row), activations);
        case Verb::causal_convolution:
        case Verb::delta_rule:
        case Verb::state_space:
            return recurrence(call, inputs, row);
        default:
            return fail(ErrorKind::unsupported, "the float64 reference has no body for {}", describe(call));
    }
}

Result<std::vector<double>> float64_of_stage(const VerbCall& call, const VerbInputs& inputs, std::string_view stage,
                                             int64_t row, float64::Activations activations) {
    TRY(check_row(call, inputs, row));
    if (call.verb == Verb::route) {
        const float64::Routing chosen = routing(call, inputs, row);
        if (stage == "router_probabilities") return chosen.probabilities;
        if (stage == "routing_margin") return Row{chosen.margin};
        if (stage == "expert_ids") return Row(chosen.experts.begin(), chosen.experts.end());
        return chosen.weights;
    }
    if (call.verb == Verb::store_kv && stage == "key_stored") return widened(inputs.x(), row);
    if (call.verb == Verb::store_kv && stage == "value_stored") return widened(inputs.x2(), row);
    if (call.verb == Verb::attention && stage == "attention_scores") return StoredAttention(call, inputs, row).scores();
    return float64_of(call, inputs, row, activations);
}

}  // namespace invar
