#include "proof/reference64/float64_rows.h"

#include <algorithm>
#include <cmath>

namespace invar::float64 {
namespace {

void embed(const RowInputs& in, double* out) {
    float64::embed(*in.call.matrix, in.call.row_of_table(in.token()), in.decoder, out);
}

void rms_norm(const RowInputs& in, double* out) {
    const WeightVector* weight = in.call.vector;
    const double* x = in.x(in.row);
    for (int64_t i = 0; i < in.call.out.width(); i += in.call.group) {
        const float* factors = weight == nullptr ? nullptr : weight->data + i % weight->size;
        float64::rms_norm(x + i, factors, in.call.group, in.call.epsilon, out + i);
    }
}

void l2_norm(const RowInputs& in, double* out) {
    const double* x = in.x(in.row);
    for (int64_t i = 0; i < in.call.out.width(); i += in.call.group)
        float64::l2_norm(x + i, in.call.group, in.call.epsilon, out + i);
}

void layer_norm(const RowInputs& in, double* out) {
    const double* x = in.x(in.row);
    const float* bias = in.call.vector2 == nullptr ? nullptr : in.call.vector2->data;
    for (int64_t i = 0; i < in.call.out.width(); i += in.call.group)
        float64::layer_norm(x + i, in.call.vector->data, bias, in.call.group, in.call.epsilon, out + i);
}

// out = x times one factor
void scaled_by(const RowInputs& in, double factor, double* out) {
    const double* x = in.x(in.row);
    for (int64_t i = 0; i < in.call.out.width(); ++i) out[i] = x[i] * factor;
}

void scale(const RowInputs& in, double* out) { scaled_by(in, in.call.factor, out); }
void scale_by_position(const RowInputs& in, double* out) {
    scaled_by(in, float64::position_scale(*in.call.position_scale, in.token().position), out);
}
void gate_rows(const RowInputs& in, double* out) { scaled_by(in, sigmoid(in.x2(in.row)[0]), out); }

void multiply(const RowInputs& in, double* out) {
    const double* x = in.x(in.row);
    const WeightVector& weight = *in.call.vector;
    for (int64_t i = 0; i < in.call.out.width(); ++i) out[i] = x[i] * weight.data[i % weight.size];
}

void softcap(const RowInputs& in, double* out) {
    const double *x = in.x(in.row), cap = in.call.factor;
    for (int64_t i = 0; i < in.call.out.width(); ++i) out[i] = cap * std::tanh(x[i] / cap);
}

void copy(const RowInputs& in, double* out) { std::copy_n(in.x(in.row), in.call.out.width(), out); }

void add_slot_bias(const RowInputs& in, double* out) {
    const double* x = in.x(in.row);
    const int64_t width = in.call.out.width();
    const float* bias = in.call.vector->data + in.slot_expert(in.row) * width;
    for (int64_t i = 0; i < width; ++i) out[i] = x[i] + bias[i];
}

void add_bias(const RowInputs& in, double* out) {
    const double* x = in.x(in.row);
    for (int64_t i = 0; i < in.call.out.width(); ++i) out[i] = x[i] + in.call.vector->data[i];
}

void rope(const RowInputs& in, double* out) {
    std::copy_n(in.x(in.row), in.call.out.width(), out);
    Rope(in.call.rope->spec()).turn(in.token().position, out, in.call.out.width());
}

void activate(const RowInputs& in, double* out) {
    const double* gate = in.x(in.row);
    const double* up = in.call.x2.rows() == 0 ? nullptr : in.x2(in.row);
    for (int64_t i = 0; i < in.call.out.width(); ++i)
        out[i] = float64::activate(*in.call.activation, gate[i], up == nullptr ? nullptr : up + i);
}

void add(const RowInputs& in, double* out) {
    const double *x = in.x(in.row), *y = in.x2(in.row);
    for (int64_t i = 0; i < in.call.out.width(); ++i) out[i] = x[i] + y[i];
}

void combine_experts(const RowInputs& in, double* out) {
    const int64_t k = in.call.slots.experts_per_row, width = in.call.out.width();
    std::fill_n(out, width, 0.0);
    for (int64_t slot = in.row * k; slot < (in.row + 1) * k; ++slot) {
        const double* x = in.x(slot);
        const double weight = in.call.unweighted ? 1.0 : in.slot_weight(slot);
        for (int64_t i = 0; i < width; ++i) out[i] += weight * x[i];
    }
}

void weigh_slots(const RowInputs& in, double* out) {
    const double *x = in.x(in.row / in.call.slots.experts_per_row), weight = in.slot_weight(in.row);
    for (int64_t i = 0; i < in.call.out.width(); ++i) out[i] = x[i] * weight;
}

void gather_rows(const RowInputs& in, double* out) {
    std::copy_n(in.x(in.call.gathered[static_cast<size_t>(in.row)]), in.call.out.width(), out);
}

struct Body {
    Verb verb;
    RowBody row;
};
constexpr Body kBodies[] = {
    {Verb::embed, embed},
    {Verb::rms_norm, rms_norm},
    {Verb::add_bias, add_bias},
    {Verb::rope, rope},
    {Verb::activate, activate},
    {Verb::add, add},
    {Verb::combine_experts, combine_experts},
    {Verb::weigh_slots, weigh_slots},
    {Verb::gather_rows, gather_rows},
    {Verb::scale, scale},
    {Verb::scale_by_position, scale_by_position},
    {Verb::multiply, multiply},
    {Verb::softcap, softcap},
    {Verb::l2_norm, l2_norm},
    {Verb::layer_norm, layer_norm},
    {Verb::gate_rows, gate_rows},
    {Verb::copy, copy},
    {Verb::add_slot_bias, add_slot_bias},
};

}  // namespace

RowBody row_body(Verb verb) {
    static const VerbTable<Body> kTable({kBodies});
    const Body* body = kTable.find(verb);
    return body == nullptr ? nullptr : body->row;
}

}  // namespace invar::float64
