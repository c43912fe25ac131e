// Attention and latent attention in verbs. The config and the weights of a model decide which verbs they have, never
// its name.
#include "models/blocks.h"

namespace invar {
namespace {

// The tensors of a layer's attention in a pass; keys and values are empty where those of another layer are attended.
struct Attended {
    Tensor projected;  // the query projection: with a gate behind each head, or `query` itself
    Tensor query, key, value;
    bool own_keys = false;
};

void project(const LayerCall& call, const AttentionGeometry& spec, const AttentionWeights& weights,
             const Attended& of) {
    const int layer = call.layer;
    const LinearJob jobs[] = {{{layer, "query"}, &weights.query, of.projected},
                              {{layer, "key"}, &weights.key, of.key},
                              {{layer, "value"}, &weights.value, of.value}};
    const size_t count = !of.own_keys ? 1 : spec.values_are_keys ? 2 : 3;
    call.ops.linear_many(std::span(jobs).first(count), call.scratch.normed);
    if (weights.query_bias) call.ops.add_bias({layer, "query_biased"}, of.projected, *weights.query_bias);
    if (weights.key_bias) call.ops.add_bias({layer, "key_biased"}, of.key, *weights.key_bias);
    if (weights.value_bias) call.ops.add_bias({layer, "value_biased"}, of.value, *weights.value_bias);
    if (of.own_keys && spec.values_are_keys) call.ops.copy({layer, "value"}, of.key, of.value);
}

void normalise(const LayerCall& call, const AttentionGeometry& spec, const AttentionWeights& weights,
               const Attended& of) {
    Ops& ops = call.ops;
    const int layer = call.layer;
    const float epsilon = call.spec().norm_epsilon;
    Tensor from = of.query, to = of.query;
    if (spec.gated) {
        from = of.projected.pieces(spec.heads).columns(0, spec.key_width);
        to = of.query.pieces(spec.heads);
    }
    if (weights.query_norm) {
        ops.rms_norm({layer, "query_norm"}, from, *weights.query_norm, epsilon, to);
    } else if (spec.unit_queries_and_keys) {
        ops.rms_norm_groups({layer, "query_norm"}, from, nullptr, spec.key_width, epsilon, to);
    } else if (spec.gated) {
        ops.copy({layer, "query_without_gate"}, from, to);
    }
    if (!of.own_keys) return;
    if (weights.key_norm) ops.rms_norm({layer, "key_norm"}, of.key, *weights.key_norm, epsilon, of.key);
    if (spec.unit_queries_and_keys)
        ops.rms_norm_groups({layer, "key_norm"}, of.key, nullptr, spec.key_width, epsilon, of.key);
    if (spec.unit_values)
        ops.rms_norm_groups({layer, "value_norm"}, of.value, nullptr, spec.value_width, epsilon, of.value);
}

void rotate(const LayerCall& call, const AttentionGeometry& spec, const Attended& of) {
    const int layer = call.layer;
    if (spec.rope >= 0) {
        const RopeTable& rope = call.ropes[static_cast<size_t>(spec.rope)];
        call.ops.rope({layer, "query_rope"}, rope, call.batch, of.query);
        if (of.own_keys) call.ops.rope({layer, "key_rope"}, rope, call.batch, of.key);
    }
    if (spec.temperature.beta != 0)
        call.ops.scale_by_position({layer, "query_scaled"}, spec.temperature, call.batch, of.query);
}

}  // namespace

void run_mixer(const LayerCall& call, const AttentionGeometry& spec, const AttentionWeights& weights) {
    const auto& [ops, config, ropes, layer, batch, cache, scratch] = call;
    const int64_t queries = int64_t{spec.heads} * spec.key_width;
    Attended of{.query = scratch.query.packed(queries), .own_keys = spec.shares < 0};
    of.projected = spec.gated ? scratch.projected.packed(2 * queries) : of.query;
    if (of.own_keys) {
        of.key = scratch.key.packed(int64_t{spec.kv_heads} * spec.key_width);
        of.value = scratch.value.packed(int64_t{spec.kv_heads} * spec.value_width);
    }
    project(call, spec, weights, of);
    if (spec.norms_behind_rope) rotate(call, spec, of);
    normalise(call, spec, weights, of);
    if (!spec.norms_behind_rope) rotate(call, spec, of);
    if (of.own_keys) ops.store_kv({layer, "kv_stored"}, layer, batch, of.key, of.value, cache);

    const Tensor attended = scratch.attended.packed(int64_t{spec.heads} * spec.value_width);
    const AttentionCall attention{
        .layer = of.own_keys ? layer : spec.shares, .heads = spec.heads, .scale = spec.scale, .softcap = spec.softcap};
    ops.attention({layer, "attention"}, attention, batch, of.query, cache, attended,
                  weights.sinks ? &*weights.sinks : nullptr);
    if (spec.gated) {
        const Tensor gates = of.projected.pieces(spec.heads).columns(spec.key_width, spec.value_width);
        const Tensor heads = attended.pieces(spec.heads);
        ops.activate({layer, "attention_gated"}, {.kind = Activation::sigmoid}, gates, heads, heads);
    }
    ops.linear({layer, "attention_output"}, weights.output, attended, scratch.branch);
    if (weights.output_bias) ops.add_bias({layer, "attention_output_biased"}, scratch.branch, *weights.output_bias);
}

// The absorbed form, for prompts and single tokens alike: queries are taken into the space of the cached vector, which
// is key and value at once, and the result is taken out of it. No key or value of a head is ever made.
void run_mixer(const LayerCall& call, const LatentGeometry& spec, const LatentWeights& weights) {
    const auto& [ops, config, ropes, layer, batch, cache, scratch] = call;
    const int64_t cached = spec.latent + spec.rope_width, of_head = spec.plain_width + spec.rope_width;
    const RopeTable& rope = ropes[static_cast<size_t>(spec.rope)];
    const Tensor projected = scratch.mixed.packed(spec.heads * of_head);
    const Tensor key = scratch.key.packed(cached);
    if (spec.query_rank > 0) {
        const Tensor low = scratch.projected.packed(spec.query_rank);
        const LinearJob jobs[] = {{{layer, "query_down"}, &weights.query_down, low},
                                  {{layer, "latent"}, &weights.latent, key}};
        ops.linear_many(jobs, scratch.normed);
        ops.rms_norm({layer, "query_down_norm"}, low, *weights.query_norm, spec.inner_epsilon, low);
        ops.linear({layer, "query"}, weights.query, low, projected);
    } else {
        const LinearJob jobs[] = {{{layer, "query"}, &weights.query, projected},
                                  {{layer, "latent"}, &weights.latent, key}};
        ops.linear_many(jobs, scratch.normed);
    }
    const Tensor vector = key.columns(0, spec.latent), key_rope = key.columns(spec.latent, spec.rope_width);
    ops.rms_norm({layer, "latent_norm"}, vector, weights.latent_norm, spec.inner_epsilon, vector);
    ops.rope({layer, "key_rope"}, rope, batch, key_rope);
    ops.store_kv({layer, "kv_stored"}, layer, batch, key, vector, cache);

    const Tensor heads = projected.pieces(spec.heads);
    const Tensor query = scratch.query.packed(spec.heads * cached), wide = query.pieces(spec.heads);
    ops.head_linear({layer, "query_absorbed"}, weights.key_up, heads.columns(0, spec.plain_width),
                    wide.columns(0, spec.latent));
    const Tensor query_rope = wide.columns(spec.latent, spec.rope_width);
    ops.copy({layer, "query_plain_rope"}, heads.columns(spec.plain_width, spec.rope_width), query_rope);
    ops.rope({layer, "query_rope"}, rope, batch, query_rope);

    const Tensor attended = scratch.attended.packed(int64_t{spec.heads} * spec.latent);
    const AttentionCall attention{.layer = layer, .heads = spec.heads, .scale = spec.scale, .softcap = 0.0f};
    ops.attention({layer, "attention"}, attention, batch, query, cache, attended);
    const Tensor value = scratch.value.packed(int64_t{spec.heads} * spec.value_width);
    ops.head_linear({layer, "attention_values"}, weights.value_up, attended.pieces(spec.heads),
                    value.pieces(spec.heads));
    ops.linear({layer, "attention_output"}, weights.output, value, scratch.branch);
}

}  // namespace invar
