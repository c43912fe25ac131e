// The verbs of a decoder layer, in order. Which verbs a model has follows from the weights it has, never from its name.
#include "models/blocks.h"

#include <algorithm>
#include <cmath>

namespace invar {

DecoderScratch take_scratch(Ops& ops, const ModelConfig& config, int64_t rows) {
    int64_t query = 0, key = 0, value = 0, attended = 0, ffn = 0;
    for (const LayerGeometry& layer : config.layers) {
        query = std::max<int64_t>(query, int64_t{layer.heads} * layer.key_width);
        key = std::max<int64_t>(key, int64_t{layer.kv_heads} * layer.key_width);
        value = std::max<int64_t>(value, int64_t{layer.kv_heads} * layer.value_width);
        attended = std::max<int64_t>(attended, int64_t{layer.heads} * layer.value_width);
        ffn = std::max(ffn, layer.ffn_width);
    }
    DecoderScratch scratch;
    scratch.normed = ops.scratch(rows, config.width);
    scratch.branch = ops.scratch(rows, config.width);
    scratch.query = ops.scratch(rows, query);
    scratch.key = ops.scratch(rows, key);
    scratch.value = ops.scratch(rows, value);
    scratch.attended = ops.scratch(rows, attended);
    const ExpertGeometry& experts = config.experts;
    if (experts.count > 0) {
        const int64_t slots = rows * experts.per_token;
        scratch.router = ops.scratch(rows, experts.count);
        scratch.routing = ops.scratch_slots(rows, experts.per_token);
        scratch.gate = ops.scratch(slots, experts.width);
        scratch.up = ops.scratch(slots, experts.width);
        scratch.slots = ops.scratch(slots, config.width);
    } else {
        scratch.gate = ops.scratch(rows, ffn);
        scratch.up = ops.scratch(rows, ffn);
    }
    return scratch;
}

void attention_block(Ops& ops, const ModelConfig& config, int layer, const AttentionWeights& weights,
                     const RopeTable& rope, const Batch& batch, KvCache& cache, const DecoderScratch& scratch,
                     Tensor residual) {
    const LayerGeometry& geometry = config.layers[static_cast<size_t>(layer)];
    const Tensor query = scratch.query.columns(0, int64_t{geometry.heads} * geometry.key_width);
    const Tensor key = scratch.key.columns(0, int64_t{geometry.kv_heads} * geometry.key_width);
    const Tensor value = scratch.value.columns(0, int64_t{geometry.kv_heads} * geometry.value_width);
    const Tensor attended = scratch.attended.columns(0, int64_t{geometry.heads} * geometry.value_width);

    ops.rms_norm({layer, "attention_norm"}, residual, weights.norm, config.norm_epsilon, scratch.normed);
    const LinearJob projections[] = {{{layer, "query"}, &weights.query, query},
                                     {{layer, "key"}, &weights.key, key},
                                     {{layer, "value"}, &weights.value, value}};
    ops.linear_many(projections, scratch.normed);
    if (weights.query_bias) ops.add_bias({layer, "query_biased"}, query, *weights.query_bias);
    if (weights.key_bias) ops.add_bias({layer, "key_biased"}, key, *weights.key_bias);
    if (weights.value_bias) ops.add_bias({layer, "value_biased"}, value, *weights.value_bias);
    if (weights.query_norm) ops.rms_norm({layer, "query_norm"}, query, *weights.query_norm, config.norm_epsilon, query);
    if (weights.key_norm) ops.rms_norm({layer, "key_norm"}, key, *weights.key_norm, config.norm_epsilon, key);
    ops.rope({layer, "query_rope"}, rope, batch, query);
    ops.rope({layer, "key_rope"}, rope, batch, key);
    ops.store_kv({layer, "kv_stored"}, layer, batch, key, value, cache);
    const AttentionCall spec{.layer = layer,
                             .heads = geometry.heads,
                             .scale = 1.0f / std::sqrt(static_cast<float>(geometry.key_width)),
                             .softcap = 0.0f};
    ops.attention({layer, "attention"}, spec, batch, query, cache, attended);
    ops.linear({layer, "attention_output"}, weights.output, attended, scratch.branch);
    if (weights.output_bias) ops.add_bias({layer, "attention_output_biased"}, scratch.branch, *weights.output_bias);
    ops.add({layer, "residual_after_attention"}, residual, scratch.branch);
}

namespace {

void dense_ffn(Ops& ops, int layer, const DenseFfn& weights, const DecoderScratch& scratch) {
    const LinearJob pair[] = {{{layer, "gate"}, &weights.gate, scratch.gate.columns(0, weights.gate.rows)},
                              {{layer, "up"}, &weights.up, scratch.up.columns(0, weights.up.rows)}};
    ops.linear_many(pair, scratch.normed);
    ops.silu_multiply({layer, "activation"}, pair[0].out, pair[1].out, pair[0].out);
    ops.linear({layer, "down"}, weights.down, pair[0].out, scratch.branch);
}

void mixture_ffn(Ops& ops, const ExpertGeometry& experts, int layer, const MixtureFfn& weights,
                 const DecoderScratch& scratch) {
    ops.linear({layer, "router"}, weights.router, scratch.normed, scratch.router);
    const RouteSpec spec{.experts_per_row = experts.per_token, .renormalise = experts.renormalise};
    ops.route({layer, "routing"}, spec, scratch.router, scratch.routing);
    ops.expert_linear_pair({layer, "expert_gate"}, weights.gate, scratch.gate, {layer, "expert_up"}, weights.up,
                           scratch.up, scratch.routing, SlotInput::row_of_slot, scratch.normed);
    ops.silu_multiply({layer, "expert_activation"}, scratch.gate, scratch.up, scratch.gate);
    ops.expert_linear({layer, "expert_down"}, weights.down, scratch.routing, SlotInput::slot, scratch.gate,
                      scratch.slots);
    ops.combine_experts({layer, "expert_sum"}, scratch.routing, scratch.slots, scratch.branch);
}

}  // namespace

void ffn_block(Ops& ops, const ModelConfig& config, int layer, const DecoderLayer& weights,
               const DecoderScratch& scratch, Tensor residual) {
    ops.rms_norm({layer, "ffn_norm"}, residual, weights.ffn_norm, config.norm_epsilon, scratch.normed);
    if (const auto* dense = std::get_if<DenseFfn>(&weights.ffn)) {
        dense_ffn(ops, layer, *dense, scratch);
    } else {
        mixture_ffn(ops, config.experts, layer, std::get<MixtureFfn>(weights.ffn), scratch);
    }
    ops.add({layer, "residual_after_ffn"}, residual, scratch.branch);
}

}  // namespace invar
