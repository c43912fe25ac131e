// The verbs from the law, in the plainest way. See reference_ops.h.
#include "reference_ops.h"

#include <cmath>
#include <cstring>

#include "arithmetic/activation.h"
#include "arithmetic/attention.h"
#include "arithmetic/elementary.h"
#include "arithmetic/float_types.h"
#include "arithmetic/norm.h"
#include "arithmetic/quantize.h"
#include "arithmetic/recurrence.h"
#include "arithmetic/routing.h"
#include "layout/rows4.h"
#include "ops/visible_rows.h"

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

void ReferenceOps::inspect(const VerbCall& call) {
    const Tensor out = call.out;
    for (int64_t row = 0; row < out.rows(); ++row) {
        for (int64_t i = 0; i < out.width(); ++i)
            inspect(verb_name(call.verb).data(), call.stage, row, i, out.host_row(row)[i]);
    }
}

template <class Element>
void ReferenceOps::each(const VerbCall& call, const Element& element) {
    for (int64_t row = 0; row < call.out.rows(); ++row) {
        for (int64_t i = 0; i < call.out.width(); ++i) call.out.host_row(row)[i] = element(row, i);
    }
    inspect(call);
}

void ReferenceOps::run(const VerbCall& call) {
    const Tensor x = call.x, x2 = call.x2;
    const auto at = [](const Tensor& tensor, int64_t row, int64_t i) { return tensor.host_row(row)[i]; };
    switch (call.verb) {
        case Verb::embed:
            return look_up(call);
        case Verb::rms_norm:
        case Verb::l2_norm:
        case Verb::layer_norm:
            return normalise(call);
        case Verb::linear:
            return multiply(call);
        case Verb::add_bias:
            return each(call, [&](int64_t row, int64_t i) { return at(x, row, i) + call.vector->data[i]; });
        case Verb::rope:
            return rotate(call);
        case Verb::store_kv:
            return store(call);
        case Verb::attention:
            return attend(call);
        case Verb::activate:
            return each(call, [&](int64_t row, int64_t i) {
                return x2.rows() == 0 ? law::activate(*call.activation, at(x, row, i))
                                      : law::activate(*call.activation, at(x, row, i), at(x2, row, i));
            });
        case Verb::add:
            return each(call, [&](int64_t row, int64_t i) { return at(x, row, i) + at(x2, row, i); });
        case Verb::route:
            return choose_experts(call);
        case Verb::expert_linear:
            return multiply_experts(call);
        case Verb::combine_experts:
            return combine(call);
        case Verb::weigh_slots:
            return each(call, [&](int64_t slot, int64_t i) {
                return at(x, slot / call.slots.experts_per_row, i) * call.slots.weights[slot];
            });
        case Verb::gather_rows:
            return each(call,
                        [&](int64_t row, int64_t i) { return at(x, call.gathered[static_cast<size_t>(row)], i); });
        case Verb::scale:
            return each(call, [&](int64_t row, int64_t i) { return at(x, row, i) * call.factor; });
        case Verb::scale_by_position:
            return each(call, [&](int64_t row, int64_t i) {
                const PositionScale& spec = *call.position_scale;
                const int64_t position = call.batch->rows[static_cast<size_t>(row)].position;
                return at(x, row, i) * law::position_scale(spec.beta, spec.length, position + spec.offset);
            });
        case Verb::multiply:
            return each(
                call, [&](int64_t row, int64_t i) { return at(x, row, i) * call.vector->data[i % call.vector->size]; });
        case Verb::softcap:
            return each(call, [&](int64_t row, int64_t i) { return law::softcap(at(x, row, i), call.factor); });
        case Verb::gate_rows:
            return each(call, [&](int64_t row, int64_t i) { return at(x, row, i) * law::sigmoid(at(x2, row, 0)); });
        case Verb::copy:
            return each(call, [&](int64_t row, int64_t i) { return at(x, row, i); });
        case Verb::add_slot_bias:
            return each(call, [&](int64_t row, int64_t i) {
                return at(x, row, i) + call.vector->data[call.slots.experts[row] * x.width() + i];
            });
        case Verb::head_linear:
            return multiply_heads(call);
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

void ReferenceOps::look_up(const VerbCall& call) {
    const WeightMatrix& table = *call.matrix;
    const Tensor out = call.out;
    for (int64_t row = 0; row < call.batch->size(); ++row) {
        const BatchRow& of = call.batch->rows[static_cast<size_t>(row)];
        const int64_t from = call.table_row == TableRow::token      ? of.token
                             : call.table_row == TableRow::position ? of.position
                                                                    : 0;
        const std::vector<std::byte> stored = stored_row(table, from);
        table.format->decode(stored.data(), table.columns, out.host_row(row));
        for (int64_t i = 0; i < table.columns; ++i) out.host_row(row)[i] = scaled(table, from, out.host_row(row)[i]);
    }
    inspect(call);
}

void ReferenceOps::normalise(const VerbCall& call) {
    const WeightVector* weight = call.vector;
    for (int64_t row = 0; row < call.x.rows(); ++row) {
        for (int64_t i = 0; i < call.x.width(); i += call.group) {
            const float* x = call.x.host_row(row) + i;
            float* y = call.out.host_row(row) + i;
            if (call.verb == Verb::l2_norm) {
                law::l2_norm(x, call.group, call.epsilon, y);
            } else if (call.verb == Verb::layer_norm) {
                law::layer_norm(x, weight->data, call.vector2 == nullptr ? nullptr : call.vector2->data, call.group,
                                call.epsilon, y);
            } else {
                law::rms_norm(x, weight == nullptr ? nullptr : weight->data + i % weight->size, call.group,
                              call.epsilon, y);
            }
        }
    }
    inspect(call);
}

void ReferenceOps::multiply(const VerbCall& call) {
    const WeightMatrix& weight = *call.matrix;
    std::vector<Operand> operands;
    for (int64_t token = 0; token < call.x.rows(); ++token) operands.emplace_back(weight, call.x.host_row(token));
    for (int64_t row = 0; row < weight.rows; ++row) {
        const std::vector<std::byte> stored = stored_row(weight, row);
        for (int64_t token = 0; token < call.x.rows(); ++token) {
            call.out.host_row(token)[row] = dot(weight, row, stored, operands[static_cast<size_t>(token)]);
        }
    }
    inspect(call);
}

void ReferenceOps::multiply_heads(const VerbCall& call) {
    for (int64_t slot = 0; slot < call.x.rows(); ++slot) {
        const WeightMatrix weight = call.stack->at(slot % call.stack->count);
        const Operand operand(weight, call.x.host_row(slot));
        for (int64_t row = 0; row < weight.rows; ++row)
            call.out.host_row(slot)[row] = dot(weight, row, stored_row(weight, row), operand);
    }
    inspect(call);
}

void ReferenceOps::rotate(const VerbCall& call) {
    const RopeTable& table = *call.rope;
    const Tensor x = call.out;
    const int64_t rows_of_token = x.rows() / call.batch->size();
    std::vector<float> cosines(static_cast<size_t>(table.spec().pairs())), sines(cosines.size());
    for (int64_t row = 0; row < x.rows(); ++row) {
        table.angles(call.batch->rows[static_cast<size_t>(row / rows_of_token)].position, cosines.data(), sines.data());
        for (int64_t i = 0; i < x.width(); i += table.spec().head_width) {
            law::rope(table.spec(), cosines.data(), sines.data(), x.host_row(row) + i);
        }
    }
    inspect(call);
}

void ReferenceOps::store(const VerbCall& call) {
    const int layer = call.cache_layer;
    const Batch& batch = *call.batch;
    const Tensor keys = call.x, values = call.x2;
    SequenceState& cache = *call.cache;
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
                    inspect(is_key ? "store_kv (keys)" : "store_kv (values)", call.stage, row, head * width + i,
                            stored);
                }
            }
        }
    }
}

void ReferenceOps::attend(const VerbCall& call) {
    const AttentionCall& spec = *call.attention;
    const Batch& batch = *call.batch;
    const Tensor queries = call.x, out = call.out;
    const SequenceState& cache = *call.cache_read;
    const KvGeometry geometry = cache.layers()[static_cast<size_t>(spec.layer)];
    AttentionSpec law_spec{.head_width = geometry.key_width,
                           .value_width = geometry.value_width,
                           .scale = spec.scale,
                           .softcap = spec.softcap,
                           .sink = {}};
    std::vector<float> key(static_cast<size_t>(geometry.key_width)), value(static_cast<size_t>(geometry.value_width));
    const VisibleRows visible_rows(geometry, batch);
    for (int64_t row = 0; row < batch.size(); ++row) {
        const BatchRow& place = batch.rows[static_cast<size_t>(row)];
        const VisiblePositions visible = visible_rows.of(row);
        for (int head = 0; head < spec.heads; ++head) {
            const int kv_head = head / (spec.heads / geometry.kv_heads);
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
            if (call.vector != nullptr) law_spec.sink = call.vector->data[head];
            law::attention_head(law_spec, queries.host_row(row) + head * geometry.key_width, visible, key_at, value_at,
                                out.host_row(row) + head * geometry.value_width);
        }
    }
    inspect(call);
}

void ReferenceOps::choose_experts(const VerbCall& call) {
    const Tensor logits = call.x;
    const ExpertSlots& routing = call.slots;
    const int k = call.route->experts_per_row;
    for (int64_t row = 0; row < logits.rows(); ++row) {
        std::vector<float> scores(static_cast<size_t>(logits.width()));
        const Routing chosen =
            law::route(*call.route, logits.host_row(row), call.vector == nullptr ? nullptr : call.vector->data,
                       call.vector2 == nullptr ? nullptr : call.vector2->data, logits.width(), scores.data());
        for (int64_t i = 0; i < logits.width(); ++i)
            inspect("route", call.stage, row, i, scores[static_cast<size_t>(i)]);
        routing.margins[row] = chosen.margin;
        for (int j = 0; j < k; ++j) {
            routing.experts[row * k + j] = chosen.experts[static_cast<size_t>(j)].expert;
            routing.weights[row * k + j] = chosen.experts[static_cast<size_t>(j)].weight;
            inspect("route", call.stage, row, logits.width() + j, routing.weights[row * k + j]);
        }
    }
}

void ReferenceOps::multiply_experts(const VerbCall& call) {
    const WeightStack& experts = *call.stack;
    const ExpertSlots& routing = call.slots;
    std::vector<Operand> operands;
    for (int64_t slot = 0; slot < call.out.rows(); ++slot) {
        const int64_t row = call.slot_input == SlotInput::slot ? slot : slot / routing.experts_per_row;
        operands.emplace_back(experts.first, call.x.host_row(row));
    }
    for (int64_t expert = 0; expert < experts.count; ++expert) {
        const WeightMatrix weight = experts.at(expert);
        for (int64_t row = 0; row < weight.rows; ++row) {
            const std::vector<std::byte> stored = stored_row(weight, row);
            for (int64_t slot = 0; slot < call.out.rows(); ++slot) {
                if (routing.experts[slot] != expert) continue;
                call.out.host_row(slot)[row] = dot(weight, row, stored, operands[static_cast<size_t>(slot)]);
            }
        }
    }
    inspect(call);
}

void ReferenceOps::combine(const VerbCall& call) {
    const int64_t k = call.slots.experts_per_row;
    each(call, [&](int64_t row, int64_t i) {
        float sum = 0;
        for (int64_t slot = row * k; slot < (row + 1) * k; ++slot)
            sum = std::fma(call.weight_of_slot(slot), call.x.host_row(slot)[i], sum);
        return sum;
    });
}

// ---- recurrences: row after row of the batch

void ReferenceOps::convolve(const VerbCall& call) {
    const RecurrenceCall& spec = *call.recurrence;
    const int64_t channels = call.x.width();
    std::vector<float> window(static_cast<size_t>(spec.taps));
    for (int64_t row = 0; row < call.x.rows(); ++row) {
        const int32_t sequence = call.batch->rows[static_cast<size_t>(row)].sequence;
        float* columns = call.cache->recurrence(sequence, spec.layer).data() + spec.heads.state_elements();
        for (int64_t channel = 0; channel < channels; ++channel) {
            for (int k = 0; k + 1 < spec.taps; ++k) window[static_cast<size_t>(k)] = columns[k * channels + channel];
            window.back() = call.x.host_row(row)[channel];
            const float bias = call.vector2 == nullptr ? 0.0f : call.vector2->data[channel];
            const float s =
                law::causal_convolution(call.vector->data + channel * spec.taps, window.data(), spec.taps, bias);
            call.out.host_row(row)[channel] = law::activate({.kind = spec.activation}, s);
            for (int k = 0; k + 1 < spec.taps; ++k)
                columns[k * channels + channel] = window[static_cast<size_t>(k) + 1];
        }
    }
    inspect(call);
}

void ReferenceOps::recur(const VerbCall& call) {
    const RecurrenceHeads& heads = call.recurrence->heads;
    const int64_t keys = int64_t{heads.key_heads} * heads.key_width;
    const int64_t values = int64_t{heads.value_heads} * heads.value_width;
    for (int64_t row = 0; row < call.x.rows(); ++row) {
        const int32_t sequence = call.batch->rows[static_cast<size_t>(row)].sequence;
        const float *inputs = call.x.host_row(row), *gates = call.x2.host_row(row);
        for (int head = 0; head < heads.value_heads; ++head) {
            float* state = call.cache->recurrence(sequence, call.recurrence->layer).data() +
                           int64_t{head} * heads.key_width * heads.value_width;
            const float a = call.vector->data[head], dt_bias = call.vector2->data[head];
            const float decay = law::decay(a, gates[head], dt_bias);
            const int64_t key = int64_t{heads.key_head_of(head)} * heads.key_width;
            const int64_t value = int64_t{head} * heads.value_width;
            float* out = call.out.host_row(row) + value;
            if (call.verb == Verb::delta_rule) {
                law::delta_step(inputs + key, inputs + keys + key, inputs + 2 * keys + value, decay,
                                law::sigmoid(gates[heads.value_heads + head]), heads.key_width, heads.value_width,
                                state, out);
            } else {
                law::state_space_step(inputs + values + keys + key, inputs + values + key, inputs + value, decay,
                                      law::softplus(gates[head] + dt_bias), call.vector3->data[head], heads.key_width,
                                      heads.value_width, state, out);
            }
        }
    }
    inspect(call);
}

}  // namespace invar
