#include "proof/reference64/float64_rows.h"

#include <algorithm>

namespace invar::float64 {
namespace {

void embed(const RowInputs& in, double* out) { float64::embed(*in.call.matrix, in.token().token, in.decoder, out); }

void rms_norm(const RowInputs& in, double* out) {
    const WeightVector& weight = *in.call.vector;
    const double* x = in.x(in.row);
    for (int64_t i = 0; i < in.call.out.width(); i += weight.size)
        float64::rms_norm(x + i, weight, in.call.epsilon, out + i);
}

void add_bias(const RowInputs& in, double* out) {
    const double* x = in.x(in.row);
    for (int64_t i = 0; i < in.call.out.width(); ++i) out[i] = x[i] + in.call.vector->data[i];
}

void rope(const RowInputs& in, double* out) {
    std::copy_n(in.x(in.row), in.call.out.width(), out);
    Rope(in.call.rope->spec()).turn(in.token().position, out, in.call.out.width());
}

void silu_multiply(const RowInputs& in, double* out) {
    const double *gate = in.x(in.row), *up = in.x2(in.row);
    for (int64_t i = 0; i < in.call.out.width(); ++i) out[i] = silu(gate[i]) * up[i];
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
        for (int64_t i = 0; i < width; ++i) out[i] += in.slot_weight(slot) * x[i];
    }
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
    {Verb::silu_multiply, silu_multiply},
    {Verb::add, add},
    {Verb::combine_experts, combine_experts},
    {Verb::gather_rows, gather_rows},
};

}  // namespace

RowBody row_body(Verb verb) {
    static const VerbTable<Body> kTable({kBodies});
    const Body* body = kTable.find(verb);
    return body == nullptr ? nullptr : body->row;
}

}  // namespace invar::float64
