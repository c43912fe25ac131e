// Every weight of a decoder, listed once: where it is kept, its role, its name in each dialect, and its shape. The
// functions here visit them in the order of the model; declaring and building follow from the list (weight_visitors.h).
// What a visitor has is in weight_options.h; the weights of attention are in attention_weights.h.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "models/attention_weights.h"
#include "models/decoder.h"
#include "models/weight_options.h"

namespace invar {

struct DecoderWeights {
    WeightMatrix embedding, head;
    InputTables input_tables;
    StreamNorm embedding_norm, output_norm;
    std::vector<DecoderLayer> layers;
};

template <class Visitor>
void visit_stream_norm(Visitor& visit, const ModelConfig& config, const NormNames& names, const DecoderTraits& traits,
                       StreamNorm& norm) {
    if (names.weight.role.empty()) return;
    visit.vector(norm.weight, names.weight, config.width, norm_options(traits));
    const Need biases = traits.other_biases ? Need::wanted : Need::if_present;
    if (config.layer_norms && !names.bias.role.empty())
        visit.vector(norm.bias, names.bias, config.width, {biases, {}, {}});
}

template <class Visitor>
void visit_input_tables(Visitor& visit, const ModelConfig& config, const InputTableNames& names, InputTables& tables) {
    const MatrixOptions looked_up{.use = MatrixOptions::Use::table};
    if (config.token_types > 0) visit.matrix(tables.types, names.types, config.token_types, config.width, looked_up);
    if (config.position_rows > 0)
        visit.matrix(tables.positions, names.positions, config.position_rows, config.width, looked_up);
}

// The value heads of Qwen3.5 are kept as GGUF files have them: head h reads key head h mod key heads. In Hugging Face's
// files those of one key head lie together. `of_head` is how many rows (or columns) a value head has, `before` how many
// lie in front of all of them.
inline GroupOrder value_head_order(const RecurrenceHeads& heads, int64_t of_head, int64_t before = 0) {
    if (!heads.interleaved) return {};
    return {.count = heads.key_heads,
            .rows = heads.value_heads / heads.key_heads * of_head,
            .sections = {of_head},
            .unmoved = before};
}

template <class Visitor>
void visit_delta_vectors(Visitor& visit, const DeltaGeometry& spec, DeltaWeights& weights) {
    const RecurrenceHeads& heads = spec.heads;
    const int64_t keys = int64_t{heads.key_heads} * heads.key_width, taps = spec.taps;
    const int64_t channels = 2 * keys + int64_t{heads.value_heads} * heads.value_width;
    const RowOrder channel_order{.groups = value_head_order(heads, heads.value_width * taps, 2 * keys * taps)};
    const RowOrder head_order{.groups = value_head_order(heads, 1)};
    visit.vector(weights.convolution, {"delta_convolution", "ssm_conv1d.weight", "linear_attn.conv1d.weight"},
                 channels * taps,
                 {Need::wanted, {.shape = {channels, taps}}, {.order = channel_order, .shape = {channels, 1, taps}}});
    visit.vector(weights.a, {"delta_a", "ssm_a", "linear_attn.A_log"}, heads.value_heads,
                 {Need::wanted, {}, {.order = head_order, .law = VectorLaw::minus_exp}});
    visit.vector(weights.dt_bias, {"delta_dt_bias", "ssm_dt.bias", "linear_attn.dt_bias"}, heads.value_heads,
                 {Need::wanted, {}, {.order = head_order}});
    visit.vector(weights.norm, {"delta_norm", "ssm_norm.weight", "linear_attn.norm.weight"}, heads.value_width, {});
}

template <class Visitor>
void visit_mixer(Visitor& visit, const ModelConfig& config, const DeltaGeometry& spec, const DecoderTraits& traits,
                 DeltaWeights& weights) {
    const RecurrenceHeads& heads = spec.heads;
    const int64_t keys = int64_t{heads.key_heads} * heads.key_width;
    const int64_t values = int64_t{heads.value_heads} * heads.value_width, width = config.width;
    const int64_t of_key = heads.value_heads / heads.key_heads;  // value heads
    constexpr std::string_view kGate = "attn_gate.weight", kInputs = "attn_qkv.weight";
    if (traits.delta_fused) {
        // Each key head has its query, its key, and the values and gates of its value heads.
        const int64_t rows = 2 * heads.key_width + 2 * of_key * heads.value_width;
        constexpr std::string_view kBoth = "linear_attn.in_proj_qkvz.weight", kGates = "linear_attn.in_proj_ba.weight";
        const RowOrder inputs{
            .groups = {heads.key_heads, rows, {heads.key_width, heads.key_width, of_key * heads.value_width}}};
        const RowOrder gate{.first = 2 * heads.key_width + of_key * heads.value_width,
                            .groups = {heads.key_heads, rows, {of_key * heads.value_width}}};
        visit.matrix(weights.inputs, {"delta_inputs", kInputs, kBoth}, 2 * keys + values, width,
                     {.hugging_face = {.order = inputs}});
        visit.matrix(weights.gate, {"delta_gate", kGate, kBoth}, values, width, {.hugging_face = {.order = gate}});
        const HeldAs decay{.order = {.first = of_key, .groups = {heads.key_heads, 2 * of_key, {of_key}}}};
        const HeldAs beta{.order = {.groups = {heads.key_heads, 2 * of_key, {of_key}}}};
        visit.matrix(weights.decay, {"delta_decay", "ssm_ba.weight", kGates}, heads.value_heads, width,
                     {.gguf = decay, .hugging_face = decay});
        visit.matrix(weights.beta, {"delta_beta", "ssm_ba.weight", kGates}, heads.value_heads, width,
                     {.gguf = beta, .hugging_face = beta});
    } else {
        const RowOrder inputs{.groups = value_head_order(heads, heads.value_width, 2 * keys)};
        const RowOrder of_values{.groups = value_head_order(heads, heads.value_width)};
        const RowOrder of_heads{.groups = value_head_order(heads, 1)};
        visit.matrix(weights.inputs, {"delta_inputs", kInputs, "linear_attn.in_proj_qkv.weight"}, 2 * keys + values,
                     width, {.hugging_face = {.order = inputs}});
        visit.matrix(weights.gate, {"delta_gate", kGate, "linear_attn.in_proj_z.weight"}, values, width,
                     {.hugging_face = {.order = of_values}});
        visit.matrix(weights.decay, {"delta_decay", "ssm_alpha.weight", "linear_attn.in_proj_a.weight"},
                     heads.value_heads, width, {.hugging_face = {.order = of_heads}});
        visit.matrix(weights.beta, {"delta_beta", "ssm_beta.weight", "linear_attn.in_proj_b.weight"}, heads.value_heads,
                     width, {.hugging_face = {.order = of_heads}});
    }
    visit_delta_vectors(visit, spec, weights);
    visit.matrix(weights.output, {"attention_output", "ssm_out.weight", "linear_attn.out_proj.weight"}, width, values,
                 {.hugging_face = {.columns = value_head_order(heads, heads.value_width)}});
}

template <class Visitor>
void visit_mixer(Visitor& visit, const ModelConfig& config, const StateSpaceGeometry& spec, const DecoderTraits& traits,
                 StateSpaceWeights& weights) {
    const RecurrenceHeads& heads = spec.heads;
    const StateSpaceNames& names = traits.state_space;
    const int64_t values = int64_t{heads.value_heads} * heads.value_width, taps = spec.taps;
    const int64_t channels = int64_t{2} * heads.key_heads * heads.key_width + values;
    const VectorOptions of_heads{Need::wanted, {.shape = {heads.value_heads, 1}}, {}};
    visit.matrix(weights.inputs, {"state_inputs", "ssm_in.weight", names.inputs}, values + channels + heads.value_heads,
                 config.width, {});
    visit.vector(weights.convolution, {"state_convolution", "ssm_conv1d.weight", names.convolution}, channels * taps,
                 {Need::wanted, {.shape = {channels, taps}}, {.shape = {channels, 1, taps}}});
    visit.vector(weights.convolution_bias, {"state_convolution_bias", "ssm_conv1d.bias", names.convolution_bias},
                 channels, {Need::if_present, {}, {}});
    visit.vector(weights.a, {"state_a", "ssm_a", names.a}, heads.value_heads,
                 {Need::wanted, {.shape = {heads.value_heads, 1}}, {.law = VectorLaw::minus_exp}});
    visit.vector(weights.dt_bias, {"state_dt_bias", "ssm_dt.bias", names.dt_bias}, heads.value_heads, {});
    visit.vector(weights.d, {"state_d", "ssm_d", names.d}, heads.value_heads, of_heads);
    visit.vector(weights.norm, {"state_norm", "ssm_norm.weight", names.norm}, values,
                 {Need::wanted, {.shape = {heads.key_heads, values / heads.key_heads}}, {}});
    visit.matrix(weights.output, {"attention_output", "ssm_out.weight", names.output}, config.width, values, {});
}

template <class Visitor>
void visit_mixer(Visitor& visit, const ModelConfig& config, const ShortConvolutionGeometry& spec, const DecoderTraits&,
                 ShortConvolutionWeights& weights) {
    const int64_t width = config.width, taps = spec.taps;
    visit.matrix(weights.inputs, {"short_inputs", "shortconv.in_proj.weight", "conv.in_proj.weight"}, 3 * width, width,
                 {});
    visit.vector(weights.convolution, {"short_convolution", "shortconv.conv.weight", "conv.conv.weight"}, width * taps,
                 {Need::wanted, {.shape = {width, taps}}, {.shape = {width, 1, taps}}});
    visit.matrix(weights.output, {"attention_output", "shortconv.out_proj.weight", "conv.out_proj.weight"}, width,
                 width, {});
}

template <class Visitor>
void visit_dense(Visitor& visit, const ModelConfig& config, const DenseGeometry& spec, const DecoderTraits& traits,
                 const DenseNames& names, DenseFfn& weights) {
    const HeldAs plain{.transposed = traits.stored_by_column ? Transposed::yes : Transposed::no};
    const bool one = spec.gated && names.up.gguf == names.gguf_fused;  // GGUF calls the tensor of both as up
    const auto fused = [&](int64_t first) {
        const HeldAs half{.order = {.first = one ? first : 0}, .part = one};
        return MatrixOptions{half, plain, names.gguf_fused, names.hugging_face_fused, first};
    };
    const WeightNames gate{names.gate.role, one ? names.gguf_fused : names.gate.gguf, names.gate.hugging_face};
    MatrixOptions up{.hugging_face = plain};
    if (spec.gated) up = fused(spec.width);
    if (spec.gated) visit.matrix(weights.gate, gate, spec.width, config.width, fused(0));
    if (spec.gated && names.up.hugging_face == names.hugging_face_fused) up.hugging_face.order.first = spec.width;
    visit.matrix(weights.up, names.up, spec.width, config.width, up);
    visit.matrix(weights.down, names.down, config.width, spec.width, {.hugging_face = plain});
    if (names.up_bias.role.empty()) return;
    const VectorOptions biases{traits.other_biases ? Need::wanted : Need::if_present, {}, {}};
    if (spec.gated) visit.vector(weights.gate_bias, names.gate_bias, spec.width, biases);
    visit.vector(weights.up_bias, names.up_bias, spec.width, biases);
    visit.vector(weights.down_bias, names.down_bias, config.width, biases);
}

template <class Visitor>
void visit_ffn(Visitor& visit, const ModelConfig& config, const DenseGeometry& spec, const DecoderTraits& traits,
               DenseFfn& weights) {
    visit_dense(visit, config, spec, traits, traits.dense, weights);
}

// The stacks of a mixture and their biases. gpt-oss interleaves the rows of gate and up in one tensor, and stores
// weights that are not quantised by column; so does Llama 4, whose gate and up follow each other.
template <class Visitor>
void visit_experts(Visitor& visit, const ModelConfig& config, const MixtureGeometry& spec, const DecoderTraits& traits,
                   MixtureFfn& weights) {
    const MixtureNames& names = traits.mixture;
    const int64_t width = spec.latent > 0 ? spec.latent : config.width, experts = spec.experts;
    const bool interleaved = traits.experts_interleaved;
    const Transposed turned = interleaved ? Transposed::where_plain : Transposed::no;
    const auto half = [&](int64_t which) {
        MatrixOptions options{.gguf_fused = "ffn_gate_up_exps.weight", .fused_row = which * spec.width};
        if (interleaved) options.hugging_face = {.order = {.first = which, .step = 2}, .transposed = turned};
        if (!interleaved && !traits.experts_by_column) options.hugging_face_fused = names.fused;
        if (traits.experts_by_column) {
            const HeldAs as{
                .order = {.first = which * spec.width}, .part = true, .transposed = Transposed::where_plain};
            options.others.push_back({Dialect::hugging_face, names.fused, as});
        }
        return options;
    };
    if (spec.gated) {
        visit.stack(weights.gate, {"expert_gate", "ffn_gate_exps.weight", names.gate}, {experts, spec.width, width},
                    half(0));
    }
    visit.stack(weights.up, {"expert_up", "ffn_up_exps.weight", names.up}, {experts, spec.width, width},
                spec.gated ? half(1) : MatrixOptions());
    MatrixOptions down{.gguf = {.factors = traits.expert_factors.gguf},
                       .hugging_face = {.transposed = turned, .factors = traits.expert_factors.hugging_face}};
    if (!traits.experts_by_column) down.hugging_face_fused = names.down_fused;
    if (traits.experts_by_column) {
        down.others.push_back({Dialect::hugging_face, names.down_fused, {.transposed = Transposed::where_plain}});
    }
    visit.stack(weights.down, {"expert_down", "ffn_down_exps.weight", names.down}, {experts, width, spec.width}, down);
    if (!traits.expert_biases) return;
    const auto bias_half = [&](int64_t first) {
        return VectorOptions{Need::wanted,
                             {.shape = {experts, spec.width}},
                             {.order = {.first = first, .step = 2}, .shape = {experts, 2 * spec.width}}};
    };
    visit.vector(weights.gate_bias, {"expert_gate_bias", "ffn_gate_exps.bias", "mlp.experts.gate_up_proj_bias"},
                 experts * spec.width, bias_half(0));
    visit.vector(weights.up_bias, {"expert_up_bias", "ffn_up_exps.bias", "mlp.experts.gate_up_proj_bias"},
                 experts * spec.width, bias_half(1));
    visit.vector(weights.down_bias, {"expert_down_bias", "ffn_down_exps.bias", "mlp.experts.down_proj_bias"},
                 experts * width, {Need::wanted, {.shape = {experts, width}}, {.shape = {experts, width}}});
}

template <class Visitor>
void visit_ffn(Visitor& visit, const ModelConfig& config, const MixtureGeometry& spec, const DecoderTraits& traits,
               MixtureFfn& weights) {
    const MixtureNames& names = traits.mixture;
    visit.matrix(weights.router, {"router", "ffn_gate_inp.weight", names.router}, spec.experts, config.width, {});
    visit.vector(weights.router_bias, {"router_bias", "ffn_gate_inp.bias", names.router_bias}, spec.experts,
                 {traits.expert_biases ? Need::wanted : Need::if_present, {}, {}});
    if (traits.softmax_selection_bias || spec.route.scoring == RouteSpec::Scoring::sigmoid) {
        const HeldAs held{.shape = traits.softmax_selection_bias ? std::vector<int64_t>{1, spec.experts}
                                                                 : std::vector<int64_t>()};
        visit.vector(weights.selection_bias, {"selection_bias", "exp_probs_b.bias", names.selection_bias}, spec.experts,
                     {traits.selection_biases ? Need::wanted : Need::if_present, held, held});
    }
    visit_experts(visit, config, spec, traits, weights);
    if (spec.latent > 0) {
        visit.matrix(weights.latent_down, {"expert_latent_down", "ffn_latent_down.weight", names.latent_down},
                     spec.latent, config.width, {});
        visit.matrix(weights.latent_up, {"expert_latent_up", "ffn_latent_up.weight", names.latent_up}, config.width,
                     spec.latent, {});
    }
    if (spec.shared_width == 0) return;
    const DenseGeometry shared{.width = spec.shared_width, .activation = spec.activation, .gated = spec.gated};
    visit_dense(visit, config, shared, traits, names.shared, weights.shared);
    if (spec.shared_gated) {
        visit.matrix(weights.shared_gate, {"shared_expert_gate", "ffn_gate_inp_shexp.weight", names.shared_gate}, 1,
                     config.width, {});
    }
}

// Makes the alternative of `weights` that belongs to the one of `spec`, and visits it.
template <class Weights, class Variant, class Visit>
void visit_kind(Variant& weights, const Visit& visit) {
    if (!std::holds_alternative<Weights>(weights)) weights.template emplace<Weights>();
    visit(std::get<Weights>(weights));
}

template <class Visitor>
void visit_layer(Visitor& visit, const ModelConfig& config, const LayerSpec& spec, const DecoderTraits& traits,
                 DecoderLayer& layer) {
    const auto mixer = [&](const auto& geometry) {
        return [&](auto& weights) { visit_mixer(visit, config, geometry, traits, weights); };
    };
    const auto ffn = [&](const auto& geometry) {
        return [&](auto& weights) { visit_ffn(visit, config, geometry, traits, weights); };
    };
    const bool bare = &spec == config.layers.data() && !traits.first_mixer_norm;
    if (spec.has_mixer() && !bare) visit_stream_norm(visit, config, traits.norms.mixer, traits, layer.mixer_norm);
    if (const auto* attention = spec.attention()) {
        visit_kind<AttentionWeights>(layer.mixer, mixer(*attention));
    } else if (const auto* latent = spec.latent()) {
        visit_kind<LatentWeights>(layer.mixer, mixer(*latent));
    } else if (const auto* delta = spec.delta()) {
        visit_kind<DeltaWeights>(layer.mixer, mixer(*delta));
    } else if (const auto* space = spec.state_space()) {
        visit_kind<StateSpaceWeights>(layer.mixer, mixer(*space));
    } else if (const auto* convolution = spec.short_convolution()) {
        visit_kind<ShortConvolutionWeights>(layer.mixer, mixer(*convolution));
    }
    if (spec.has_mixer()) visit_stream_norm(visit, config, traits.norms.mixer_post, traits, layer.mixer_post_norm);
    if (!spec.has_ffn()) return;
    visit_stream_norm(visit, config, traits.norms.ffn, traits, layer.ffn_norm);
    if (const auto* dense = spec.dense()) {
        visit_kind<DenseFfn>(layer.ffn, ffn(*dense));
    } else {
        visit_kind<MixtureFfn>(layer.ffn, ffn(*spec.mixture()));
    }
    visit_stream_norm(visit, config, traits.norms.ffn_post, traits, layer.ffn_post_norm);
}

template <class Visitor>
void visit_decoder(Visitor& visit, const ModelConfig& config, const DecoderTraits& traits, DecoderWeights& weights) {
    visit.layer(-1);
    visit.matrix(weights.embedding, {"token_embedding", "token_embd.weight", "embed_tokens.weight"}, config.vocabulary,
                 config.width, {.use = MatrixOptions::Use::table});
    visit_input_tables(visit, config, traits.input_tables, weights.input_tables);
    visit_stream_norm(visit, config, traits.norms.embedding, traits, weights.embedding_norm);
    visit_stream_norm(visit, config, traits.norms.output, traits, weights.output_norm);
    if (traits.head) {
        visit.matrix(weights.head, {"output_head", "output.weight", "lm_head.weight"}, config.vocabulary, config.width,
                     {.use = MatrixOptions::Use::logits, .alias_of = "token_embedding"});
    }
    weights.layers.resize(config.layers.size());
    for (size_t i = 0; i < config.layers.size(); ++i) {
        visit.layer(static_cast<int>(i));
        visit_layer(visit, config, config.layers[i], traits, weights.layers[i]);
    }
}

}  // namespace invar
