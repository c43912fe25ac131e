// The verbs of a decoder layer, in order. The config and the weights of a model decide which verbs it has, never its
// name.
#include "models/blocks.h"

#include <algorithm>
#include <utility>

namespace invar {
namespace {

// The largest of a kind of width over all layers; 0 if no layer has it.
template <class Width>
int64_t widest(const ModelConfig& config, const Width& width) {
    int64_t most = 0;
    for (const LayerSpec& layer : config.layers) most = std::max<int64_t>(most, width(layer));
    return most;
}

template <class Width>
int64_t widest_attention(const ModelConfig& config, const Width& width) {
    return widest(config, [&](const LayerSpec& layer) {
        return layer.attention() == nullptr ? int64_t{0} : width(*layer.attention());
    });
}

}  // namespace

DecoderScratch take_scratch(Ops& ops, const ModelConfig& config, int64_t rows) {
    DecoderScratch scratch;
    scratch.normed = ops.scratch(rows, config.width);
    scratch.branch = ops.scratch(rows, config.width);
    const auto attention = [&](auto&& width) { return ops.scratch(rows, widest_attention(config, width)); };
    scratch.query = attention([](const AttentionGeometry& a) { return int64_t{a.heads} * a.key_width; });
    scratch.key = attention([](const AttentionGeometry& a) { return int64_t{a.kv_heads} * a.key_width; });
    scratch.value = attention([](const AttentionGeometry& a) { return int64_t{a.kv_heads} * a.value_width; });
    scratch.attended = attention([](const AttentionGeometry& a) { return int64_t{a.heads} * a.value_width; });
    const int64_t dense =
        widest(config, [](const LayerSpec& layer) { return layer.dense() ? layer.dense()->width : 0; });
    const int64_t expert =
        widest(config, [](const LayerSpec& layer) { return layer.mixture() ? layer.mixture()->width : 0; });
    const int per_token = config.most_experts_per_token();
    if (per_token > 0) {
        const int64_t slots = rows * per_token;
        scratch.router = ops.scratch(rows, config.most_experts());
        scratch.routing = ops.scratch_slots(rows, per_token);
        scratch.expert_gate = ops.scratch(slots, expert);
        scratch.expert_up = ops.scratch(slots, expert);
        scratch.slots = ops.scratch(slots, config.width);
    }
    if (dense > 0) {
        scratch.gate = ops.scratch(rows, dense);
        scratch.up = ops.scratch(rows, dense);
    }
    return scratch;
}

namespace {

// scratch.branch = the mixer's output for scratch.normed.
void run_mixer(const LayerCall& call, const AttentionGeometry& spec, const AttentionWeights& weights) {
    const auto& [ops, config, ropes, layer, batch, cache, scratch] = call;
    const float epsilon = config.layers[static_cast<size_t>(layer)].norm_epsilon;
    const Tensor query = scratch.query.columns(0, int64_t{spec.heads} * spec.key_width);
    const Tensor key = scratch.key.columns(0, int64_t{spec.kv_heads} * spec.key_width);
    const Tensor value = scratch.value.columns(0, int64_t{spec.kv_heads} * spec.value_width);
    const Tensor attended = scratch.attended.columns(0, int64_t{spec.heads} * spec.value_width);

    const LinearJob projections[] = {{{layer, "query"}, &weights.query, query},
                                     {{layer, "key"}, &weights.key, key},
                                     {{layer, "value"}, &weights.value, value}};
    ops.linear_many(projections, scratch.normed);
    if (weights.query_bias) ops.add_bias({layer, "query_biased"}, query, *weights.query_bias);
    if (weights.key_bias) ops.add_bias({layer, "key_biased"}, key, *weights.key_bias);
    if (weights.value_bias) ops.add_bias({layer, "value_biased"}, value, *weights.value_bias);
    if (weights.query_norm) ops.rms_norm({layer, "query_norm"}, query, *weights.query_norm, epsilon, query);
    if (weights.key_norm) ops.rms_norm({layer, "key_norm"}, key, *weights.key_norm, epsilon, key);
    if (spec.rope >= 0) {
        const RopeTable& rope = ropes[static_cast<size_t>(spec.rope)];
        ops.rope({layer, "query_rope"}, rope, batch, query);
        ops.rope({layer, "key_rope"}, rope, batch, key);
    }
    ops.store_kv({layer, "kv_stored"}, layer, batch, key, value, cache);
    const AttentionCall attention{.layer = layer, .heads = spec.heads, .scale = spec.scale, .softcap = 0.0f};
    ops.attention({layer, "attention"}, attention, batch, query, cache, attended);
    ops.linear({layer, "attention_output"}, weights.output, attended, scratch.branch);
    if (weights.output_bias) ops.add_bias({layer, "attention_output_biased"}, scratch.branch, *weights.output_bias);
}

// scratch.branch = the feed-forward part's output for scratch.normed.
void run_ffn(const LayerCall& call, const DenseGeometry&, const DenseFfn& weights) {
    const DecoderScratch& scratch = call.scratch;
    const int layer = call.layer;
    const LinearJob pair[] = {{{layer, "gate"}, &weights.gate, scratch.gate.columns(0, weights.gate.rows)},
                              {{layer, "up"}, &weights.up, scratch.up.columns(0, weights.up.rows)}};
    call.ops.linear_many(pair, scratch.normed);
    call.ops.silu_multiply({layer, "activation"}, pair[0].out, pair[1].out, pair[0].out);
    call.ops.linear({layer, "down"}, weights.down, pair[0].out, scratch.branch);
}

void run_ffn(const LayerCall& call, const MixtureGeometry& spec, const MixtureFfn& weights) {
    Ops& ops = call.ops;
    const DecoderScratch& scratch = call.scratch;
    const int layer = call.layer;
    const Tensor logits = scratch.router.columns(0, spec.experts);
    const Tensor gate = scratch.expert_gate.columns(0, spec.width), up = scratch.expert_up.columns(0, spec.width);
    ops.linear({layer, "router"}, weights.router, scratch.normed, logits);
    const RouteSpec route{.experts_per_row = spec.per_token, .renormalise = spec.renormalise};
    ops.route({layer, "routing"}, route, logits, scratch.routing);
    ops.expert_linear_pair({layer, "expert_gate"}, weights.gate, gate, {layer, "expert_up"}, weights.up, up,
                           scratch.routing, SlotInput::row_of_slot, scratch.normed);
    ops.silu_multiply({layer, "expert_activation"}, gate, up, gate);
    ops.expert_linear({layer, "expert_down"}, weights.down, scratch.routing, SlotInput::slot, gate, scratch.slots);
    ops.combine_experts({layer, "expert_sum"}, scratch.routing, scratch.slots, scratch.branch);
}

}  // namespace

void mixer_branch(const LayerCall& call, const DecoderLayer& weights, Tensor residual) {
    const LayerSpec& layer = call.config.layers[static_cast<size_t>(call.layer)];
    call.ops.rms_norm({call.layer, "attention_norm"}, residual, weights.mixer_norm, layer.norm_epsilon,
                      call.scratch.normed);
    run_mixer(call, std::get<AttentionGeometry>(layer.mixer), std::get<AttentionWeights>(weights.mixer));
}

void ffn_branch(const LayerCall& call, const DecoderLayer& weights, Tensor residual) {
    const LayerSpec& layer = call.config.layers[static_cast<size_t>(call.layer)];
    call.ops.rms_norm({call.layer, "ffn_norm"}, residual, weights.ffn_norm, layer.norm_epsilon, call.scratch.normed);
    if (const DenseGeometry* dense = layer.dense()) {
        run_ffn(call, *dense, std::get<DenseFfn>(weights.ffn));
    } else {
        run_ffn(call, *layer.mixture(), std::get<MixtureFfn>(weights.ffn));
    }
}

void mixer_block(const LayerCall& call, const DecoderLayer& weights, Tensor residual) {
    mixer_branch(call, weights, residual);
    call.ops.add({call.layer, "residual_after_attention"}, residual, call.scratch.branch);
}

void ffn_block(const LayerCall& call, const DecoderLayer& weights, Tensor residual) {
    ffn_branch(call, weights, residual);
    call.ops.add({call.layer, "residual_after_ffn"}, residual, call.scratch.branch);
}

}  // namespace invar
