// Feed-forward parts in verbs: dense ones, and mixtures of experts with everything that families add to them (biases,
// experts that work in a smaller width, an expert that every token takes).
#include "models/blocks.h"

namespace invar {
namespace {

struct DenseStages {
    std::string_view gate, up, gate_biased, up_biased, activation, down, down_biased;
};
constexpr DenseStages kDense{.gate = "gate",
                             .up = "up",
                             .gate_biased = "gate_biased",
                             .up_biased = "up_biased",
                             .activation = "activation",
                             .down = "down",
                             .down_biased = "down_biased"};
constexpr DenseStages kShared{.gate = "shared_gate",
                              .up = "shared_up",
                              .gate_biased = "shared_gate_biased",
                              .up_biased = "shared_up_biased",
                              .activation = "shared_activation",
                              .down = "shared_down",
                              .down_biased = "shared_down_biased"};

void add_bias(const LayerCall& call, std::string_view stage, Tensor y, const std::optional<WeightVector>& bias) {
    if (bias) call.ops.add_bias({call.layer, stage}, y, *bias);
}

// out = the dense part of scratch.normed
void run_dense(const LayerCall& call, const DenseGeometry& spec, const DenseFfn& weights, const DenseStages& stages,
               Tensor out) {
    Ops& ops = call.ops;
    const int layer = call.layer;
    const Tensor gate = call.scratch.gate.packed(spec.width), up = call.scratch.up.packed(spec.width);
    if (spec.gated) {
        const LinearJob pair[] = {{{layer, stages.gate}, &weights.gate, gate}, {{layer, stages.up}, &weights.up, up}};
        ops.linear_many(pair, call.scratch.normed);
        add_bias(call, stages.gate_biased, gate, weights.gate_bias);
    } else {
        ops.linear({layer, stages.up}, weights.up, call.scratch.normed, up);
    }
    add_bias(call, stages.up_biased, up, weights.up_bias);
    const Tensor activated = spec.gated ? gate : up;
    ops.activate({layer, stages.activation}, spec.activation, activated, spec.gated ? up : Tensor(), activated);
    ops.linear({layer, stages.down}, weights.down, activated, out);
    add_bias(call, stages.down_biased, out, weights.down_bias);
}

const WeightVector* pointer_to(const std::optional<WeightVector>& vector) { return vector ? &*vector : nullptr; }

// The slots' results for rows of x. Weighed inputs lie in `slots` until the results take their place.
void run_experts(const LayerCall& call, const MixtureGeometry& spec, const MixtureFfn& weights,
                 const ExpertSlots& routing, Tensor x, Tensor slots) {
    Ops& ops = call.ops;
    const int layer = call.layer;
    const int64_t count = slots.rows();
    const Tensor gate = call.scratch.expert_gate.row_range(0, count).packed(spec.width);
    const Tensor up = call.scratch.expert_up.row_range(0, count).packed(spec.width);
    SlotInput input = SlotInput::row_of_slot;
    if (spec.weighs_inputs) {
        ops.weigh_slots({layer, "expert_input"}, routing, x, slots);
        input = SlotInput::slot;
        x = slots;
    }
    if (spec.gated) {
        ops.expert_linear_pair({layer, "expert_gate"}, weights.gate, gate, {layer, "expert_up"}, weights.up, up,
                               routing, input, x);
        if (weights.gate_bias) ops.add_slot_bias({layer, "expert_gate_biased"}, routing, gate, *weights.gate_bias);
    } else {
        ops.expert_linear({layer, "expert_up"}, weights.up, routing, input, x, up);
    }
    if (weights.up_bias) ops.add_slot_bias({layer, "expert_up_biased"}, routing, up, *weights.up_bias);
    const Tensor activated = spec.gated ? gate : up;
    ops.activate({layer, "expert_activation"}, spec.activation, activated, spec.gated ? up : Tensor(), activated);
    ops.expert_linear({layer, "expert_down"}, weights.down, routing, SlotInput::slot, activated, slots);
    if (weights.down_bias) ops.add_slot_bias({layer, "expert_down_biased"}, routing, slots, *weights.down_bias);
}

}  // namespace

void run_ffn(const LayerCall& call, const DenseGeometry& spec, const DenseFfn& weights) {
    run_dense(call, spec, weights, kDense, call.scratch.branch);
}

void run_ffn(const LayerCall& call, const MixtureGeometry& spec, const MixtureFfn& weights) {
    run_ffn(call, spec, weights, call.scratch.normed);
}

void run_ffn(const LayerCall& call, const MixtureGeometry& spec, const MixtureFfn& weights, Tensor router_input) {
    Ops& ops = call.ops;
    const DecoderScratch& scratch = call.scratch;
    const int layer = call.layer;
    const Tensor logits = scratch.router.packed(spec.experts);
    ops.linear({layer, "router"}, weights.router, router_input, logits);
    add_bias(call, "router_biased", logits, weights.router_bias);
    ExpertSlots routing = scratch.routing;
    routing.experts_per_row = spec.route.experts_per_row;
    ops.route({layer, "routing"}, spec.route, logits, routing, pointer_to(weights.selection_bias));

    const Tensor x = spec.latent > 0 ? scratch.latent.packed(spec.latent) : scratch.normed;
    if (spec.latent > 0) ops.linear({layer, "expert_latent"}, weights.latent_down, scratch.normed, x);
    const int64_t slot_rows = routing.rows * routing.experts_per_row;
    const Tensor slots = scratch.slots.row_range(0, slot_rows).packed(x.width());
    run_experts(call, spec, weights, routing, x, slots);
    if (spec.latent > 0) {
        ops.combine_experts({layer, "expert_sum"}, routing, slots, x, spec.weighs_inputs);
        ops.linear({layer, "expert_sum_wide"}, weights.latent_up, x, scratch.branch);
    } else {
        ops.combine_experts({layer, "expert_sum"}, routing, slots, scratch.branch, spec.weighs_inputs);
    }
    if (spec.shared_width == 0) return;

    const DenseGeometry shared{.width = spec.shared_width, .activation = spec.activation, .gated = spec.gated};
    run_dense(call, shared, weights.shared, kShared, scratch.shared);
    if (spec.shared_gated) {
        ops.linear({layer, "shared_expert_gate"}, weights.shared_gate, scratch.normed, scratch.shared_gate);
        ops.gate_rows({layer, "shared_gated"}, scratch.shared, scratch.shared_gate);
    }
    ops.add({layer, "expert_sum_with_shared"}, scratch.branch, scratch.shared);
}

}  // namespace invar
