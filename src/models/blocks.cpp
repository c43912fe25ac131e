// Scratch, norms and the composition of a layer: see blocks.h. Attention: attention.cpp; recurrences: recurrences.cpp;
// feed-forward parts: feed_forward.cpp.
#include "models/blocks.h"

#include <algorithm>
#include <utility>

namespace invar {
namespace {

// The most elements of each kind that a layer needs, by row (or by expert slot).
struct Widths {
    int64_t projected = 0, query = 0, key = 0, value = 0, attended = 0, mixed = 0, gates = 0;
    int64_t ffn = 0, expert = 0, expert_result = 0, latent = 0, shared = 0, shared_gate = 0;
};

void raise(int64_t& most, int64_t width) { most = std::max(most, width); }

void add(Widths& most, const AttentionGeometry& spec, int64_t) {
    const int64_t query = int64_t{spec.heads} * spec.key_width;
    raise(most.projected, spec.gated ? 2 * query : 0);
    raise(most.query, query);
    raise(most.key, int64_t{spec.kv_heads} * spec.key_width);
    raise(most.value, int64_t{spec.kv_heads} * spec.value_width);
    raise(most.attended, int64_t{spec.heads} * spec.value_width);
}

void add(Widths& most, const LatentGeometry& spec, int64_t) {
    const int64_t cached = spec.latent + spec.rope_width;
    raise(most.projected, spec.query_rank);
    raise(most.mixed, int64_t{spec.heads} * (spec.plain_width + spec.rope_width));
    raise(most.query, spec.heads * cached);
    raise(most.key, cached);
    raise(most.attended, int64_t{spec.heads} * std::max(spec.latent, spec.value_width));
    raise(most.value, int64_t{spec.heads} * spec.value_width);
}

void add(Widths& most, const DeltaGeometry& spec, int64_t) {
    const int64_t values = int64_t{spec.heads.value_heads} * spec.heads.value_width;
    const int64_t channels = int64_t{2} * spec.heads.key_heads * spec.heads.key_width + values;
    raise(most.projected, channels);
    raise(most.mixed, channels);
    raise(most.gates, int64_t{2} * spec.heads.value_heads);
    raise(most.value, values);
    raise(most.attended, values);
}

void add(Widths& most, const StateSpaceGeometry& spec, int64_t) {
    const int64_t values = int64_t{spec.heads.value_heads} * spec.heads.value_width;
    const int64_t channels = int64_t{2} * spec.heads.key_heads * spec.heads.key_width + values;
    raise(most.projected, values + channels + spec.heads.value_heads);
    raise(most.mixed, channels);
    raise(most.attended, values);
}

void add(Widths& most, const ShortConvolutionGeometry&, int64_t width) {
    raise(most.projected, 3 * width);
    raise(most.mixed, width);
}

void add(Widths& most, const DenseGeometry& spec, int64_t) { raise(most.ffn, spec.width); }

void add(Widths& most, const MixtureGeometry& spec, int64_t width) {
    raise(most.expert, spec.width);
    raise(most.expert_result, spec.latent > 0 ? spec.latent : width);  // and a slot's weighed input
    raise(most.latent, spec.latent);
    raise(most.ffn, spec.shared_width);
    raise(most.shared, spec.shared_width > 0 ? width : 0);
    raise(most.shared_gate, spec.shared_gated ? 1 : 0);
}

void add(Widths&, const NoBranch&, int64_t) {}

// What a layer adds to the residual stream, behind its scale.
void add_branch(const LayerCall& call, std::string_view scaled, std::string_view sum, Tensor residual) {
    if (call.config.residual_scale != 1)
        call.ops.scale({call.layer, scaled}, call.scratch.branch, call.config.residual_scale);
    call.ops.add({call.layer, sum}, residual, call.scratch.branch);
}

}  // namespace

DecoderScratch take_scratch(Ops& ops, const ModelConfig& config, int64_t rows) {
    Widths most;
    for (const LayerSpec& layer : config.layers) {
        std::visit([&](const auto& mixer) { add(most, mixer, config.width); }, layer.mixer);
        std::visit([&](const auto& ffn) { add(most, ffn, config.width); }, layer.ffn);
    }
    DecoderScratch scratch;
    const auto take = [&](Tensor& tensor, int64_t count, int64_t width) {
        if (width > 0) tensor = ops.scratch(count, width);
    };
    take(scratch.normed, rows, config.width);
    take(scratch.branch, rows, config.width);
    take(scratch.projected, rows, most.projected);
    take(scratch.query, rows, most.query);
    take(scratch.key, rows, most.key);
    take(scratch.value, rows, most.value);
    take(scratch.attended, rows, most.attended);
    take(scratch.mixed, rows, most.mixed);
    take(scratch.gates, rows, most.gates);
    if (const int per_token = config.most_experts_per_token(); per_token > 0) {
        const int64_t slots = rows * per_token;
        scratch.router = ops.scratch(rows, config.most_experts());
        scratch.routing = ops.scratch_slots(rows, per_token);
        scratch.expert_gate = ops.scratch(slots, most.expert);
        scratch.expert_up = ops.scratch(slots, most.expert);
        scratch.slots = ops.scratch(slots, most.expert_result);
        take(scratch.latent, rows, most.latent);
        take(scratch.shared, rows, most.shared);
        take(scratch.shared_gate, rows, most.shared_gate);
    }
    take(scratch.gate, rows, most.ffn);
    take(scratch.up, rows, most.ffn);
    return scratch;
}

void add_input_tables(Ops& ops, const ModelConfig& config, const InputTables& tables, const Batch& batch, Tensor room,
                      Tensor residual) {
    if (config.token_types > 0) {
        ops.embed({-1, "token_type"}, tables.types, batch, room, TableRow::first);
        ops.add({-1, "embedding_with_type"}, residual, room);
    }
    if (config.position_rows > 0) {
        ops.embed({-1, "position"}, tables.positions, batch, room, TableRow::position);
        ops.add({-1, "embedding_with_position"}, residual, room);
    }
}

void run_norm(const LayerCall& call, std::string_view stage, Tensor x, const StreamNorm& norm, Tensor y) {
    const float epsilon = call.layer < 0 ? call.config.norm_epsilon : call.spec().norm_epsilon;
    if (!call.config.layer_norms) return call.ops.rms_norm({call.layer, stage}, x, *norm.weight, epsilon, y);
    call.ops.layer_norm({call.layer, stage}, x, *norm.weight, norm.bias ? &*norm.bias : nullptr, epsilon, y);
}

void mixer_branch(const LayerCall& call, const DecoderLayer& weights, Tensor residual) {
    const DecoderScratch& scratch = call.scratch;
    const LayerSpec& layer = call.spec();
    if (weights.mixer_norm.weight) {
        run_norm(call, "attention_norm", residual, weights.mixer_norm, scratch.normed);
    } else {
        call.ops.copy({call.layer, "attention_input"}, residual, scratch.normed);
    }
    if (const AttentionGeometry* attention = layer.attention()) {
        run_mixer(call, *attention, std::get<AttentionWeights>(weights.mixer));
    } else if (const LatentGeometry* latent = layer.latent()) {
        run_mixer(call, *latent, std::get<LatentWeights>(weights.mixer));
    } else if (const DeltaGeometry* delta = layer.delta()) {
        run_mixer(call, *delta, std::get<DeltaWeights>(weights.mixer));
    } else if (const ShortConvolutionGeometry* convolution = layer.short_convolution()) {
        run_mixer(call, *convolution, std::get<ShortConvolutionWeights>(weights.mixer));
    } else {
        run_mixer(call, *layer.state_space(), std::get<StateSpaceWeights>(weights.mixer));
    }
    if (weights.mixer_post_norm.weight && !call.config.sums_normalised)
        run_norm(call, "attention_post_norm", scratch.branch, weights.mixer_post_norm, scratch.branch);
}

void ffn_branch(const LayerCall& call, const DecoderLayer& weights, Tensor residual) {
    const DecoderScratch& scratch = call.scratch;
    const LayerSpec& layer = call.spec();
    // A parallel part reads a norm of the layer's input, which mixer_block() has left.
    if (!call.config.parallel && weights.ffn_norm.weight) {
        run_norm(call, "ffn_norm", residual, weights.ffn_norm, scratch.normed);
    } else if (!call.config.parallel) {
        call.ops.copy({call.layer, "ffn_input"}, residual, scratch.normed);
    }
    if (const DenseGeometry* dense = layer.dense()) {
        run_ffn(call, *dense, std::get<DenseFfn>(weights.ffn));
    } else {
        run_ffn(call, *layer.mixture(), std::get<MixtureFfn>(weights.ffn));
    }
    if (weights.ffn_post_norm.weight && !call.config.sums_normalised)
        run_norm(call, "ffn_post_norm", scratch.branch, weights.ffn_post_norm, scratch.branch);
}

void mixer_block(const LayerCall& call, const DecoderLayer& weights, Tensor residual) {
    if (!call.spec().has_mixer()) return;
    mixer_branch(call, weights, residual);
    if (call.config.parallel && weights.ffn_norm.weight)
        run_norm(call, "ffn_norm", residual, weights.ffn_norm, call.scratch.normed);
    add_branch(call, "attention_scaled", "residual_after_attention", residual);
    if (call.config.sums_normalised) run_norm(call, "attention_sum_norm", residual, weights.mixer_post_norm, residual);
}

void ffn_block(const LayerCall& call, const DecoderLayer& weights, Tensor residual) {
    if (!call.spec().has_ffn()) return;
    ffn_branch(call, weights, residual);
    add_branch(call, "ffn_scaled", "residual_after_ffn", residual);
    if (call.config.sums_normalised) run_norm(call, "ffn_sum_norm", residual, weights.ffn_post_norm, residual);
}

}  // namespace invar
