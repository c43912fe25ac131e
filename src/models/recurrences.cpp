// The mixers that carry a state from token to token, in verbs: gated delta nets, Mamba 2 and short convolutions.
#include "models/blocks.h"

namespace invar {

void run_mixer(const LayerCall& call, const DeltaGeometry& spec, const DeltaWeights& weights) {
    const auto& [ops, config, ropes, layer, batch, cache, scratch] = call;
    const RecurrenceHeads& heads = spec.heads;
    const int64_t keys = int64_t{heads.key_heads} * heads.key_width;
    const int64_t values = int64_t{heads.value_heads} * heads.value_width;
    const Tensor inputs = scratch.projected.packed(2 * keys + values), mixed = scratch.mixed.packed(2 * keys + values);
    const Tensor gate = scratch.value.packed(values), attended = scratch.attended.packed(values);
    const Tensor gates = scratch.gates.packed(int64_t{2} * heads.value_heads);
    const LinearJob jobs[] = {
        {{layer, "delta_inputs"}, &weights.inputs, inputs},
        {{layer, "delta_gate"}, &weights.gate, gate},
        {{layer, "delta_decay"}, &weights.decay, gates.columns(0, heads.value_heads)},
        {{layer, "delta_beta"}, &weights.beta, gates.columns(heads.value_heads, heads.value_heads)}};
    ops.linear_many(jobs, scratch.normed);

    const RecurrenceCall recurrence{.layer = layer, .taps = spec.taps, .heads = heads};
    ops.causal_convolution({layer, "delta_convolution"}, recurrence, batch, inputs, weights.convolution, nullptr, cache,
                           mixed);
    const Tensor both = mixed.columns(0, 2 * keys), query = mixed.columns(0, keys);
    ops.l2_norm({layer, "delta_norm"}, both, heads.key_width, spec.inner_epsilon, both);
    ops.scale({layer, "delta_query_scaled"}, query, spec.scale);
    ops.delta_rule({layer, "delta_rule"}, recurrence, batch, mixed, gates, weights.a, weights.dt_bias, cache, attended);
    ops.rms_norm({layer, "delta_output_norm"}, attended, weights.norm, call.spec().norm_epsilon, attended);
    ops.activate({layer, "delta_gated"}, {.kind = Activation::silu}, gate, attended, attended);
    ops.linear({layer, "attention_output"}, weights.output, attended, scratch.branch);
}

void run_mixer(const LayerCall& call, const StateSpaceGeometry& spec, const StateSpaceWeights& weights) {
    const auto& [ops, config, ropes, layer, batch, cache, scratch] = call;
    const RecurrenceHeads& heads = spec.heads;
    const int64_t values = int64_t{heads.value_heads} * heads.value_width;
    const int64_t channels = int64_t{2} * heads.key_heads * heads.key_width + values;
    const Tensor projected = scratch.projected.packed(values + channels + heads.value_heads);
    const Tensor mixed = scratch.mixed.packed(channels), attended = scratch.attended.packed(values);
    ops.linear({layer, "state_inputs"}, weights.inputs, scratch.normed, projected);

    const RecurrenceCall recurrence{.layer = layer, .taps = spec.taps, .heads = heads};
    ops.causal_convolution({layer, "state_convolution"}, recurrence, batch, projected.columns(values, channels),
                           weights.convolution, weights.convolution_bias ? &*weights.convolution_bias : nullptr, cache,
                           mixed);
    ops.state_space({layer, "state_space"}, recurrence, batch, mixed,
                    projected.columns(values + channels, heads.value_heads), weights.a, weights.dt_bias, weights.d,
                    cache, attended);
    ops.activate({layer, "state_gated"}, {.kind = Activation::silu}, projected.columns(0, values), attended, attended);
    if (weights.norm) {
        ops.rms_norm_groups({layer, "state_norm"}, attended, &*weights.norm, values / heads.key_heads,
                            call.spec().norm_epsilon, attended);
    }
    ops.linear({layer, "attention_output"}, weights.output, attended, scratch.branch);
}

void run_mixer(const LayerCall& call, const ShortConvolutionGeometry& spec, const ShortConvolutionWeights& weights) {
    const auto& [ops, config, ropes, layer, batch, cache, scratch] = call;
    const int64_t width = config.width;
    const Tensor projected = scratch.projected.packed(3 * width), mixed = scratch.mixed.packed(width);
    const Tensor first_gate = projected.columns(0, width), second_gate = projected.columns(width, width);
    const Tensor gated = projected.columns(2 * width, width);
    constexpr ActivationSpec kProduct{.kind = Activation::identity};
    ops.linear({layer, "short_inputs"}, weights.inputs, scratch.normed, projected);
    ops.activate({layer, "short_gated_input"}, kProduct, first_gate, gated, gated);
    const RecurrenceCall recurrence{.layer = layer, .taps = spec.taps, .activation = Activation::identity};
    ops.causal_convolution({layer, "short_convolution"}, recurrence, batch, gated, weights.convolution, nullptr, cache,
                           mixed);
    ops.activate({layer, "short_gated"}, kProduct, second_gate, mixed, mixed);
    ops.linear({layer, "attention_output"}, weights.output, mixed, scratch.branch);
}

}  // namespace invar
