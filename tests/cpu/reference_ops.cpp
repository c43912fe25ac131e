// The verbs from the law, in the plainest way. See reference_ops.h.
#include "reference_ops.h"

#include <cmath>
#include <cstring>

#include "arithmetic/attention.h"
#include "arithmetic/elementary.h"
#include "arithmetic/float_types.h"
#include "arithmetic/norm.h"
#include "arithmetic/quantize.h"
#include "arithmetic/recurrence.h"
#include "arithmetic/routing.h"
#include "layout/rows4.h"

namespace invar {
namespace {

std::vector<std::byte> stored_row(const WeightMatrix& weight, int64_t row) {
    const int64_t bytes = weight.format->row_bytes(weight.columns);
    std::vector<std::byte> stored(static_cast<size_t>(bytes));
    if (weight.form == StoredForm::rows4) {
        unpack_row(*weight.format, weight.data, weight.rows, weight.columns, row, stored.data());
    } else {
        std::memcpy(stored.data(), weight.data + row * bytes, stored.size());
    }
    return stored;
}

// A row of x, and its blocks where the weight is quantised.
struct Operand {
    const float* x;
    std::vector<QuantizedBlock> blocks;

    Operand(const WeightMatrix& weight, const float* row) : x(row) {
        if (weight.format->is_float) return;
        blocks.resize(static_cast<size_t>(weight.columns / kDotBlock));
        quantize_row(x, weight.columns, blocks.data());
    }
};

float dot(const WeightMatrix& weight, int64_t row, const std::vector<std::byte>& stored, const Operand& operand) {
    const float y = weight.format->is_float
                        ? dot_float(*weight.format, stored.data(), operand.x, weight.columns)
                        : dot_quantized(*weight.format, stored.data(), operand.blocks.data(), weight.columns);
    return scaled(weight, row, y);
}

float cached(CacheType type, const std::byte* place, int64_t index) {
    if (type == CacheType::f32) {
        float value = 0;
        std::memcpy(&value, place + index * 4, 4);
        return value;
    }
    uint16_t half = 0;
    std::memcpy(&half, place + index * 2, 2);
    return type == CacheType::f16 ? f16_to_f32(half) : bf16_to_f32(half);
}

// Stores and returns what was stored.
float store_element(CacheType type, std::byte* place, int64_t index, float value) {
    if (type == CacheType::f32) {
        std::memcpy(place + index * 4, &value, 4);
    } else {
        const uint16_t half = type == CacheType::f16 ? f32_to_f16(value) : f32_to_bf16(value);
        std::memcpy(place + index * 2, &half, 2);
    }
    return cached(type, place, index);
}

}  // namespace

Tensor ReferenceOps::scratch(int64_t rows, int64_t width) {
    std::vector<float>& memory = floats_.emplace_back(static_cast<size_t>(rows * width));
    return {memory.data(), Place::host, rows, width, width};
}

ExpertSlots ReferenceOps::scratch_slots(int64_t rows, int experts_per_row) {
    ExpertSlots slots;
    slots.rows = rows;
    slots.experts_per_row = experts_per_row;
    slots.experts = integers_.emplace_back(static_cast<size_t>(rows * experts_per_row)).data();
    slots.weights = floats_.emplace_back(static_cast<size_t>(rows * experts_per_row)).data();
    slots.margins = floats_.emplace_back(static_cast<size_t>(rows)).data();
    return slots;
}

void ReferenceOps::begin_pass() {
    floats_.clear();
    integers_.clear();
    failure_.reset();
}

void ReferenceOps::inspect(const char* verb, Stage stage, int64_t row, int64_t element, float value) {
    if (failure_ || std::isfinite(value)) return;
    failure_ = NonFinite{.verb = verb, .stage = stage, .row = row, .element = element, .value = value};
}

void ReferenceOps::inspect(const char* verb, Stage stage, Tensor out) {
    for (int64_t row = 0; row < out.rows(); ++row) {
        for (int64_t i = 0; i < out.width(); ++i) inspect(verb, stage, row, i, out.host_row(row)[i]);
    }
}

void ReferenceOps::run(const VerbCall& call) {
    const Stage stage = call.stage;
    switch (call.verb) {
        case Verb::embed:
            return look_up(stage, *call.matrix, *call.batch, call.out);
        case Verb::rms_norm:
        case Verb::l2_norm:
        case Verb::layer_norm:
            return normalise(call);
        case Verb::linear:
            return multiply(stage, *call.matrix, call.x, call.out);
        case Verb::add_bias:
            return add_vector(stage, call.out, *call.vector);
        case Verb::rope:
            return rotate(stage, *call.rope, *call.batch, call.out);
        case Verb::store_kv:
            return store(stage, call.cache_layer, *call.batch, call.x, call.x2, *call.cache);
        case Verb::attention:
            return attend(stage, *call.attention, *call.batch, call.x, *call.cache_read, call.out, call.vector);
        case Verb::activate:
            return gate(stage, *call.activation, call.x, call.x2, call.out);
        case Verb::add:
            return add_rows(stage, call.out, call.x2);
        case Verb::route:
            return choose_experts(call);
        case Verb::expert_linear:
            return multiply_experts(stage, *call.stack, call.slots, call.slot_input, call.x, call.out);
        case Verb::combine_experts:
            return combine(stage, call.slots, call.x, call.out);
        case Verb::gather_rows:
            return gather(stage, call.x, call.gathered, call.out);
        case Verb::scale:
        case Verb::scale_by_position:
        case Verb::multiply:
        case Verb::softcap:
        case Verb::gate_rows:
        case Verb::copy:
        case Verb::add_slot_bias:
            return change_elements(call);
        case Verb::head_linear:
            return multiply_heads(stage, *call.stack, call.x, call.out);
        case Verb::causal_convolution:
            return convolve(call);
        case Verb::delta_rule:
        case Verb::state_space:
            return recur(call);
        case Verb::count:
            break;
    }
    CHECK(false, "the tests' reference has every verb");
}

void ReferenceOps::look_up(Stage stage, const WeightMatrix& table, const Batch& batch, Tensor out) {
    for (int64_t row = 0; row < batch.size(); ++row) {
        const int32_t token = batch.rows[static_cast<size_t>(row)].token;
        const std::vector<std::byte> stored = stored_row(table, token);
        table.format->decode(stored.data(), table.columns, out.host_row(row));
        for (int64_t i = 0; i < table.columns; ++i) out.host_row(row)[i] = scaled(table, token, out.host_row(row)[i]);
    }
    inspect("embed", stage, out);
}

void ReferenceOps::normalise(const VerbCall& call) {
    const int64_t group = call.group;
    for (int64_t row = 0; row < call.x.rows(); ++row) {
        for (int64_t i = 0; i < call.x.width(); i += group) {
            const float* x = call.x.host_row(row) + i;
            float* y = call.out.host_row(row) + i;
            const float* weight = call.vector == nullptr ? nullptr : call.vector->data + i % call.vector->size;
            const float* bias = call.vector2 == nullptr ? nullptr : call.vector2->data;
            if (call.verb == Verb::rms_norm) law::rms_norm(x, weight, group, call.epsilon, y);
            if (call.verb == Verb::l2_norm) law::l2_norm(x, group, call.epsilon, y);
            if (call.verb == Verb::layer_norm) law::layer_norm(x, weight, bias, group, call.epsilon, y);
        }
    }
    inspect(verb_name(call.verb).data(), call.stage, call.out);
}

void ReferenceOps::multiply(Stage stage, const WeightMatrix& weight, Tensor x, Tensor y) {
    std::vector<Operand> operands;
    for (int64_t token = 0; token < x.rows(); ++token) operands.emplace_back(weight, x.host_row(token));
    for (int64_t row = 0; row < weight.rows; ++row) {
        const std::vector<std::byte> stored = stored_row(weight, row);
        for (int64_t token = 0; token < x.rows(); ++token) {
            y.host_row(token)[row] = dot(weight, row, stored, operands[static_cast<size_t>(token)]);
        }
    }
    inspect("linear", stage, y);
}

void ReferenceOps::add_vector(Stage stage, Tensor y, const WeightVector& bias) {
    for (int64_t row = 0; row < y.rows(); ++row) {
        for (int64_t i = 0; i < y.width(); ++i) y.host_row(row)[i] = y.host_row(row)[i] + bias.data[i];
    }
    inspect("add_bias", stage, y);
}

void ReferenceOps::rotate(Stage stage, const RopeTable& table, const Batch& batch, Tensor x) {
    std::vector<float> cosines(static_cast<size_t>(table.spec().pairs())), sines(cosines.size());
    for (int64_t row = 0; row < x.rows(); ++row) {
        const int64_t token = row / (x.rows() / batch.size());
        table.angles(batch.rows[static_cast<size_t>(token)].position, cosines.data(), sines.data());
        for (int64_t i = 0; i < x.width(); i += table.spec().head_width) {
            law::rope(table.spec(), cosines.data(), sines.data(), x.host_row(row) + i);
        }
    }
    inspect("rope", stage, x);
}

void ReferenceOps::store(Stage stage, int layer, const Batch& batch, Tensor keys, Tensor values, SequenceState& cache) {
    const KvGeometry geometry = cache.layers()[static_cast<size_t>(layer)];
    for (const bool is_key : {true, false}) {
        if (!is_key && geometry.values_in_keys) continue;
        const int64_t width = is_key ? geometry.key_width : geometry.value_width;
        for (int64_t row = 0; row < batch.size(); ++row) {
            const BatchRow& place = batch.rows[static_cast<size_t>(row)];
            const int32_t page = cache.pages_of(place.sequence, layer)[static_cast<size_t>(place.position / 64)];
            const int64_t lane = place.position % 64;
            for (int head = 0; head < geometry.kv_heads; ++head) {
                std::byte* memory = is_key ? cache.keys(layer, page, head) : cache.values(layer, page, head);
                for (int64_t i = 0; i < width; ++i) {
                    const float value = (is_key ? keys : values).host_row(row)[head * width + i];
                    const float stored =
                        store_element(cache.type(), memory, is_key ? i * 64 + lane : lane * width + i, value);
                    inspect(is_key ? "store_kv (keys)" : "store_kv (values)", stage, row, head * width + i, stored);
                }
            }
        }
    }
}

void ReferenceOps::attend(Stage stage, const AttentionCall& spec, const Batch& batch, Tensor queries,
                          const SequenceState& cache, Tensor out, const WeightVector* sinks) {
    const KvGeometry geometry = cache.layers()[static_cast<size_t>(spec.layer)];
    AttentionSpec law_spec{.head_width = geometry.key_width,
                           .value_width = geometry.value_width,
                           .scale = spec.scale,
                           .softcap = spec.softcap,
                           .sink = {}};
    std::vector<float> key(static_cast<size_t>(geometry.key_width)), value(static_cast<size_t>(geometry.value_width));
    for (int64_t row = 0; row < batch.size(); ++row) {
        const BatchRow& place = batch.rows[static_cast<size_t>(row)];
        const int64_t window = geometry.window;
        const VisiblePositions visible{
            .first = window > 0 && place.position >= window ? place.position + 1 - window : 0,
            .last = place.position + 1};
        for (int head = 0; head < spec.heads; ++head) {
            const int kv_head = head / (spec.heads / geometry.kv_heads);
            if (sinks != nullptr) law_spec.sink = sinks->data[head];
            const auto page = [&](int64_t t) {
                return cache.pages_of(place.sequence, spec.layer)[static_cast<size_t>(t / 64)];
            };
            const auto key_at = [&](int64_t t) -> const float* {
                for (int i = 0; i < geometry.key_width; ++i) {
                    key[static_cast<size_t>(i)] =
                        cached(cache.type(), cache.keys(spec.layer, page(t), kv_head), i * 64 + t % 64);
                }
                return key.data();
            };
            const auto value_at = [&](int64_t t) -> const float* {
                if (geometry.values_in_keys) return key_at(t);
                for (int i = 0; i < geometry.value_width; ++i) {
                    value[static_cast<size_t>(i)] = cached(cache.type(), cache.values(spec.layer, page(t), kv_head),
                                                           t % 64 * geometry.value_width + i);
                }
                return value.data();
            };
            law::attention_head(law_spec, queries.host_row(row) + head * geometry.key_width, visible, key_at, value_at,
                                out.host_row(row) + head * geometry.value_width);
        }
    }
    inspect("attention", stage, out);
}

void ReferenceOps::gate(Stage stage, const ActivationSpec& spec, Tensor gate, Tensor up, Tensor out) {
    for (int64_t row = 0; row < out.rows(); ++row) {
        for (int64_t i = 0; i < out.width(); ++i) {
            const float x = gate.host_row(row)[i];
            out.host_row(row)[i] =
                up.rows() == 0 ? law::activate(spec, x) : law::activate(spec, x, up.host_row(row)[i]);
        }
    }
    inspect("activate", stage, out);
}

void ReferenceOps::add_rows(Stage stage, Tensor x, Tensor y) {
    for (int64_t row = 0; row < x.rows(); ++row) {
        for (int64_t i = 0; i < x.width(); ++i) x.host_row(row)[i] = x.host_row(row)[i] + y.host_row(row)[i];
    }
    inspect("add", stage, x);
}

// The verbs that change elements in place, and copies.
void ReferenceOps::change_elements(const VerbCall& call) {
    const Tensor out = call.out;
    for (int64_t row = 0; row < out.rows(); ++row) {
        for (int64_t i = 0; i < out.width(); ++i) {
            float& x = out.host_row(row)[i];
            if (call.verb == Verb::scale) x = x * call.factor;
            if (call.verb == Verb::scale_by_position) {
                const PositionScale& spec = *call.position_scale;
                x = x *
                    law::position_scale(spec.beta, spec.length, call.batch->rows[static_cast<size_t>(row)].position);
            }
            if (call.verb == Verb::multiply) x = x * call.vector->data[i % call.vector->size];
            if (call.verb == Verb::softcap) x = law::softcap(x, call.factor);
            if (call.verb == Verb::gate_rows) x = x * law::sigmoid(call.x2.host_row(row)[0]);
            if (call.verb == Verb::copy) x = call.x.host_row(row)[i];
            if (call.verb == Verb::add_slot_bias) x = x + call.vector->data[call.slots.experts[row] * out.width() + i];
        }
    }
    inspect(verb_name(call.verb).data(), call.stage, out);
}

void ReferenceOps::choose_experts(const VerbCall& call) {
    const Tensor logits = call.x;
    const ExpertSlots routing = call.slots;
    const float* bias = call.vector == nullptr ? nullptr : call.vector->data;
    const float* factors = call.vector2 == nullptr ? nullptr : call.vector2->data;
    std::vector<float> scores(static_cast<size_t>(logits.width()));
    for (int64_t row = 0; row < logits.rows(); ++row) {
        const Routing chosen =
            law::route(*call.route, logits.host_row(row), bias, factors, logits.width(), scores.data());
        for (int64_t i = 0; i < logits.width(); ++i)
            inspect("route", call.stage, row, i, scores[static_cast<size_t>(i)]);
        routing.margins[row] = chosen.margin;
        const int64_t count = routing.experts_per_row;
        for (int64_t j = 0; j < count; ++j) {
            const RoutedExpert& expert = chosen.experts[static_cast<size_t>(j)];
            routing.experts[row * count + j] = expert.expert;
            routing.weights[row * count + j] = expert.weight;
            inspect("route", call.stage, row, logits.width() + j, expert.weight);
        }
    }
}

void ReferenceOps::multiply_heads(Stage stage, const WeightStack& heads, Tensor x, Tensor out) {
    for (int64_t row = 0; row < x.rows(); ++row) {
        const WeightMatrix weight = heads.at(row % heads.count);
        const Operand operand(weight, x.host_row(row));
        for (int64_t i = 0; i < weight.rows; ++i) out.host_row(row)[i] = dot(weight, i, stored_row(weight, i), operand);
    }
    inspect("head_linear", stage, out);
}

void ReferenceOps::convolve(const VerbCall& call) {
    const RecurrenceCall& spec = *call.recurrence;
    const int64_t channels = call.x.width(), history = spec.taps - 1;
    for (int64_t row = 0; row < call.batch->size(); ++row) {
        const int32_t sequence = call.batch->rows[static_cast<size_t>(row)].sequence;
        float* columns = call.cache->recurrence(sequence, spec.layer).data() + spec.heads.state_elements();
        for (int64_t channel = 0; channel < channels; ++channel) {
            std::vector<float> inputs;
            for (int64_t k = 0; k < history; ++k) inputs.push_back(columns[k * channels + channel]);
            inputs.push_back(call.x.host_row(row)[channel]);
            const float bias = call.vector2 == nullptr ? 0.0f : call.vector2->data[channel];
            call.out.host_row(row)[channel] = law::silu(
                law::causal_convolution(call.vector->data + channel * spec.taps, inputs.data(), spec.taps, bias));
            for (int64_t k = 0; k < history; ++k) columns[k * channels + channel] = inputs[static_cast<size_t>(k + 1)];
        }
    }
    inspect("causal_convolution", call.stage, call.out);
}

void ReferenceOps::recur(const VerbCall& call) {
    const RecurrenceHeads& heads = call.recurrence->heads;
    const int64_t keys = int64_t{heads.key_heads} * heads.key_width, width = heads.value_width;
    const int64_t values = heads.value_heads * width;
    for (int64_t row = 0; row < call.batch->size(); ++row) {
        const int32_t sequence = call.batch->rows[static_cast<size_t>(row)].sequence;
        const float *x = call.x.host_row(row), *gates = call.x2.host_row(row);
        for (int head = 0; head < heads.value_heads; ++head) {
            float* state = call.cache->recurrence(sequence, call.recurrence->layer).data() +
                           int64_t{head} * heads.key_width * width;
            float* out = call.out.host_row(row) + head * width;
            const int64_t key = int64_t{heads.key_head_of(head)} * heads.key_width;
            const float decay = law::decay(call.vector->data[head], gates[head], call.vector2->data[head]);
            if (call.verb == Verb::delta_rule) {
                law::delta_step(x + key, x + keys + key, x + 2 * keys + head * width, decay,
                                law::sigmoid(gates[heads.value_heads + head]), heads.key_width, heads.value_width,
                                state, out);
            } else {
                const float dt = law::softplus(gates[head] + call.vector2->data[head]);
                law::state_space_step(x + values + keys + key, x + values + key, x + head * width, decay, dt,
                                      call.vector3->data[head], heads.key_width, heads.value_width, state, out);
            }
        }
    }
    inspect(verb_name(call.verb).data(), call.stage, call.out);
}

void ReferenceOps::multiply_experts(Stage stage, const WeightStack& experts, const ExpertSlots& routing,
                                    SlotInput input, Tensor x, Tensor out) {
    std::vector<Operand> operands;
    for (int64_t slot = 0; slot < out.rows(); ++slot) {
        operands.emplace_back(experts.first,
                              x.host_row(input == SlotInput::slot ? slot : slot / routing.experts_per_row));
    }
    for (int64_t expert = 0; expert < experts.count; ++expert) {
        const WeightMatrix weight = experts.at(expert);
        for (int64_t row = 0; row < weight.rows; ++row) {
            const std::vector<std::byte> stored = stored_row(weight, row);
            for (int64_t slot = 0; slot < out.rows(); ++slot) {
                if (routing.experts[slot] != expert) continue;
                out.host_row(slot)[row] = dot(weight, row, stored, operands[static_cast<size_t>(slot)]);
            }
        }
    }
    inspect("expert_linear", stage, out);
}

void ReferenceOps::combine(Stage stage, const ExpertSlots& routing, Tensor slots, Tensor y) {
    for (int64_t row = 0; row < y.rows(); ++row) {
        for (int64_t i = 0; i < y.width(); ++i) {
            float sum = 0;
            for (int64_t j = 0; j < routing.experts_per_row; ++j) {
                const int64_t slot = row * routing.experts_per_row + j;
                sum = std::fma(routing.weights[slot], slots.host_row(slot)[i], sum);
            }
            y.host_row(row)[i] = sum;
        }
    }
    inspect("combine_experts", stage, y);
}

void ReferenceOps::gather(Stage stage, Tensor x, std::span<const int32_t> rows, Tensor out) {
    for (int64_t row = 0; row < out.rows(); ++row) {
        for (int64_t i = 0; i < out.width(); ++i) out.host_row(row)[i] = x.host_row(rows[static_cast<size_t>(row)])[i];
    }
    inspect("gather_rows", stage, out);
}

}  // namespace invar
