// Finds the doubles of a tensor, chooses the body that computes a call, and computes products. Other verbs:
// float64_rows.h for those that work row by row, float64_ops_attention.cpp for attention and its cache,
// float64_ops_experts.cpp for experts.
#include "proof/reference64/float64_ops.h"

#include <algorithm>
#include <cmath>

#include "proof/reference64/float64_recurrence.h"

namespace invar {
namespace {

// A double is valid while the float beside it is its rounding. Otherwise a hook has written the float, which is taken.
void follow(double* wide, const float* rounded, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        if (static_cast<float>(wide[i]) != rounded[i]) wide[i] = rounded[i];
    }
}

constexpr int64_t kItemRows = 4 * float64::kProductRows;  // weight rows that a thread takes at a time

}  // namespace

double* Float64Ops::find(const float* place) const {
    for (size_t i = 0; i < blocks_taken_; ++i) {
        const Block& block = blocks_[i];
        if (place >= block.floats.get() && place < block.floats.get() + block.size)
            return block.doubles.get() + (place - block.floats.get());
    }
    return nullptr;
}

const double* Float64Ops::doubles(const Tensor& tensor) {
    if (tensor.rows() == 0 || find(tensor.host()) == nullptr) return nullptr;
    return input(tensor).data;
}

Float64Ops::Wide Float64Ops::output(Tensor tensor) {
    if (tensor.rows() == 0) return {};
    if (double* found = find(tensor.host())) return {.data = found, .stride = tensor.stride()};
    auto& room = foreign_.emplace_back(new double[static_cast<size_t>(tensor.rows() * tensor.width())]());
    return {.data = room.get(), .stride = tensor.width()};
}

Float64Ops::Wide Float64Ops::input(Tensor tensor) {
    const Wide wide = output(tensor);
    for (int64_t row = 0; row < tensor.rows(); ++row) follow(wide.row(row), tensor.host_row(row), tensor.width());
    return wide;
}

void Float64Ops::inspect(std::string_view verb, Stage stage, int64_t row, const double* values, int64_t count) {
    if (failure_) return;
    const double* bad = std::find_if(values, values + count, [](double value) { return !std::isfinite(value); });
    if (bad == values + count) return;
    failure_ = NonFinite{.verb = std::string(verb),
                         .stage = stage,
                         .row = row,
                         .element = bad - values,
                         .value = static_cast<float>(*bad)};
}

void Float64Ops::finish(const VerbCall& call, Wide wide) {
    const Tensor out = call.out;
    for (int64_t row = 0; row < out.rows(); ++row) {
        std::copy_n(wide.row(row), out.width(), out.host_row(row));
        inspect(verb_name(call.verb), call.stage, row, wide.row(row), out.width());
    }
    foreign_.clear();
}

Tensor Float64Ops::scratch(int64_t rows, int64_t width) {
    if (blocks_taken_ == blocks_.size()) blocks_.emplace_back();
    Block& block = blocks_[blocks_taken_++];
    if (const int64_t size = rows * width; block.size < size) {
        block = {.floats = std::make_unique<float[]>(static_cast<size_t>(size)),
                 .doubles = std::make_unique<double[]>(static_cast<size_t>(size)),
                 .size = size};
    }
    return {block.floats.get(), Place::host, rows, width, width};
}

void Float64Ops::begin_pass() {
    blocks_taken_ = 0;
    slots_.clear();
    failure_.reset();
}

void Float64Ops::run(const VerbCall& call) {
    if (const float64::RowBody body = float64::row_body(call.verb)) return run_rows(call, body);
    switch (call.verb) {
        case Verb::linear:
            return linear(call);
        case Verb::store_kv:
            return store(call);
        case Verb::attention:
            return attend(call);
        case Verb::route:
            return route(call);
        case Verb::expert_linear:
            return expert_linear(call);
        case Verb::head_linear:
            return head_linear(call);
        case Verb::causal_convolution:
        case Verb::delta_rule:
        case Verb::state_space:
            return recur(call);
        default:
            if (lacking_)
                lacking_ = fail(ErrorKind::unsupported, "the float64 reference has no body for {}", describe(call));
    }
}

void Float64Ops::run_rows(const VerbCall& call, float64::RowBody body) {
    const bool in_place = row_of(call.verb).in_place();
    const Wide x = input(in_place ? call.out : call.x), x2 = input(call.x2), wide = output(call.out);
    const bool weighted = row_of(call.verb).reads(verb_field::weights);
    const std::vector<double> weights = weighted ? slot_weights(call.slots) : std::vector<double>();
    const auto x_row = [&](int64_t row) -> const double* { return x.row(row); };
    const auto x2_row = [&](int64_t row) -> const double* { return x2.row(row); };
    const auto slot_weight = [&](int64_t slot) { return weights[static_cast<size_t>(slot)]; };
    const auto slot_expert = [&](int64_t slot) { return call.slots.experts[slot]; };
    pool_.parallel_items(call.out.rows(), [&](int64_t row, int worker) {
        body({.call = call,
              .row = row,
              .x = x_row,
              .x2 = x2_row,
              .slot_weight = slot_weight,
              .slot_expert = slot_expert,
              .decoder = rooms_[static_cast<size_t>(worker)].decoder},
             wide.row(row));
    });
    finish(call, wide);
}

void Float64Ops::multiply(const WeightMatrix& matrix, std::span<const double* const> x, std::span<double* const> y) {
    std::vector<std::vector<double>> rows;
    std::vector<const double*> given;
    if (activations_ == float64::Activations::quantized && !matrix.format->is_float) {
        for (const double* row : x) given.push_back(rows.emplace_back(float64::quantized(row, matrix.columns)).data());
        x = given;
    }
    const int64_t items = (matrix.rows + kItemRows - 1) / kItemRows;
    pool_.parallel_items(items, [&](int64_t item, int worker) {
        const int64_t first = item * kItemRows;
        float64::multiply(
            {.matrix = matrix, .first = first, .count = std::min(kItemRows, matrix.rows - first), .x = x, .y = y},
            rooms_[static_cast<size_t>(worker)]);
    });
}

void Float64Ops::linear(const VerbCall& call) {
    const Wide in = input(call.x), wide = output(call.out);
    std::vector<const double*> from;
    std::vector<double*> to;
    for (int64_t row = 0; row < call.x.rows(); ++row) {
        from.push_back(in.row(row));
        to.push_back(wide.row(row));
    }
    multiply(*call.matrix, from, to);
    finish(call, wide);
}

void Float64Ops::head_linear(const VerbCall& call) {
    const Wide in = input(call.x), wide = output(call.out);
    for (int64_t head = 0; head < call.stack->count; ++head) {
        std::vector<const double*> from;
        std::vector<double*> to;
        for (int64_t row = head; row < call.x.rows(); row += call.stack->count) {
            from.push_back(in.row(row));
            to.push_back(wide.row(row));
        }
        multiply(call.stack->at(head), from, to);
    }
    finish(call, wide);
}

// The doubles of a state. One is valid while the float in the state is its rounding; a state that was begun anew or
// copied has other floats, which are taken.
std::vector<double>& Float64Ops::follow_recurrence(std::span<const float> stored) {
    std::vector<double>& wide = recurrences_[stored.data()];
    wide.resize(stored.size());
    follow(wide.data(), stored.data(), static_cast<int64_t>(stored.size()));
    return wide;
}

void Float64Ops::recur(const VerbCall& call) {
    const Wide x = input(call.x), x2 = input(call.x2), wide = output(call.out);
    for (int64_t row = 0; row < call.out.rows(); ++row) {
        const std::span<float> stored =
            call.cache->recurrence(call.batch->rows[static_cast<size_t>(row)].sequence, call.cache_layer);
        std::vector<double>& state = follow_recurrence(stored);
        float64::step_recurrence(call, x.row(row), call.x2.rows() == 0 ? nullptr : x2.row(row), state, wide.row(row));
        std::copy(state.begin(), state.end(), stored.begin());
    }
    finish(call, wide);
}

}  // namespace invar
