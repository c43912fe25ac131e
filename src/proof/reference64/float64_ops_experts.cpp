// Routing and the products of experts in Float64Ops.
#include <algorithm>

#include "proof/reference64/float64_ops.h"

namespace invar {

ExpertSlots Float64Ops::scratch_slots(int64_t rows, int experts_per_row) {
    const auto count = static_cast<size_t>(rows * experts_per_row);
    Slots& slots = slots_.emplace_back();
    slots.experts = std::make_unique<int32_t[]>(count);
    slots.weights = std::make_unique<float[]>(count);
    slots.margins = std::make_unique<float[]>(static_cast<size_t>(rows));
    slots.wide_weights.resize(count);
    slots.wide_margins.resize(static_cast<size_t>(rows));
    return {.rows = rows,
            .experts_per_row = experts_per_row,
            .experts = slots.experts.get(),
            .weights = slots.weights.get(),
            .margins = slots.margins.get()};
}

Float64Ops::Slots* Float64Ops::find_slots(const ExpertSlots& routing) {
    const auto found = std::find_if(slots_.begin(), slots_.end(),
                                    [&](const Slots& slots) { return slots.weights.get() == routing.weights; });
    return found == slots_.end() ? nullptr : &*found;
}

// The doubles of the weights, or the floats if a hook has changed them.
std::vector<double> Float64Ops::slot_weights(const ExpertSlots& routing) {
    std::vector<double> weights(routing.weights, routing.weights + routing.rows * routing.experts_per_row);
    if (const Slots* slots = find_slots(routing)) {
        for (size_t i = 0; i < weights.size(); ++i) {
            if (static_cast<float>(slots->wide_weights[i]) == routing.weights[i]) weights[i] = slots->wide_weights[i];
        }
    }
    return weights;
}

WideRouting Float64Ops::wide_routing(const ExpertSlots& routing) {
    Slots* slots = find_slots(routing);
    if (slots == nullptr) return {};
    slots->wide_weights = slot_weights(routing);
    return {.probabilities = slots->probabilities.data(),
            .weights = slots->wide_weights.data(),
            .margins = slots->wide_margins.data()};
}

void Float64Ops::route(const VerbCall& call) {
    const RouteSpec& spec = *call.route;
    const Tensor logits = call.x;
    const ExpertSlots& routing = call.slots;
    const Wide in = input(logits);
    Slots* slots = find_slots(routing);
    if (slots != nullptr) slots->probabilities.clear();
    for (int64_t row = 0; row < logits.rows(); ++row) {
        const float64::Routing chosen =
            float64::route(in.row(row), logits.width(), spec, call.vector == nullptr ? nullptr : call.vector->data,
                           call.vector2 == nullptr ? nullptr : call.vector2->data);
        inspect("route", call.stage, row, chosen.probabilities.data(), logits.width());
        const int64_t first = row * spec.experts_per_row;
        std::copy(chosen.experts.begin(), chosen.experts.end(), routing.experts + first);
        std::copy(chosen.weights.begin(), chosen.weights.end(), routing.weights + first);
        routing.margins[row] = static_cast<float>(chosen.margin);
        if (slots == nullptr) continue;
        std::copy(chosen.weights.begin(), chosen.weights.end(), slots->wide_weights.begin() + first);
        slots->wide_margins[static_cast<size_t>(row)] = chosen.margin;
        slots->probabilities.insert(slots->probabilities.end(), chosen.probabilities.begin(),
                                    chosen.probabilities.end());
    }
    foreign_.clear();
}

void Float64Ops::expert_linear(const VerbCall& call) {
    const WeightStack& experts = *call.stack;
    const ExpertSlots& routing = call.slots;
    const Wide in = input(call.x), wide = output(call.out);
    std::map<int32_t, std::vector<int64_t>> slots_of;  // indexed by expert
    for (int64_t slot = 0; slot < call.out.rows(); ++slot) slots_of[routing.experts[slot]].push_back(slot);
    for (const auto& [expert, slots] : slots_of) {
        CHECK(expert >= 0 && expert < experts.count, "a routing names experts that exist");
        std::vector<const double*> from;
        std::vector<double*> to;
        for (const int64_t slot : slots) {
            from.push_back(in.row(call.slot_input == SlotInput::slot ? slot : slot / routing.experts_per_row));
            to.push_back(wide.row(slot));
        }
        multiply(experts.at(expert), from, to);
    }
    finish(call, wide);
}

}  // namespace invar
