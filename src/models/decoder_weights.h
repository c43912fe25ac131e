// Every weight of a decoder, listed once: where it is kept, its role, its name in each dialect, and its shape. The
// functions here visit them in the order of the model; declaring and building follow from the list (weight_visitors.h).
//
// A visitor has
//   vector(WeightVector& or std::optional<WeightVector>&, WeightNames, size, VectorOptions)
//   matrix(WeightMatrix&, WeightNames, rows, columns, MatrixOptions)
//   stack(WeightStack&, WeightNames, {experts, rows, columns}, MatrixOptions)
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "models/blocks.h"

namespace invar {

struct DecoderWeights {
    WeightMatrix embedding, head;
    WeightVector output_norm;
    std::vector<DecoderLayer> layers;
};

struct WeightNames {
    std::string_view role;          // "query"
    std::string_view gguf;          // "attn_q.weight", behind "blk.N." for a weight of a layer
    std::string_view hugging_face;  // "self_attn.q_proj.weight", likewise (tensor_names.h)
};

enum class Need : uint8_t { wanted, if_present, never };

struct VectorOptions {
    Need need = Need::wanted;
    HeldAs gguf = {};          // how a GGUF file holds it; Mistral's own layout has the same order
    HeldAs hugging_face = {};  // how Hugging Face's files hold it
};

// Another tensor that may hold a weight, as older files or other writers have it.
struct OtherTensor {
    Dialect dialect;
    std::string_view tensor;
    HeldAs as = {};
};

struct MatrixOptions {
    HeldAs gguf = {};  // as in VectorOptions
    HeldAs hugging_face = {};
    // Tensors whose rows hold those of this one from fused_row on; "": there is none.
    std::string_view gguf_fused = {}, hugging_face_fused = {};
    int64_t fused_row = 0;
    int64_t head_width = 0;  // its rows belong to heads of so many
    enum class Use : uint8_t { product, table /* rows are looked up */, logits } use = Use::product;
    std::string_view alias_of = {};        // a role: where this tensor is absent, its storage is that one's
    std::vector<OtherTensor> others = {};  // tried in this order where there is neither its own tensor nor a fused one
};

template <class Visitor>
void visit_mixer(Visitor& visit, const ModelConfig& config, const AttentionGeometry& spec, const DecoderTraits& traits,
                 AttentionWeights& weights) {
    const int64_t query = int64_t{spec.heads} * spec.key_width, key = int64_t{spec.kv_heads} * spec.key_width;
    const int64_t value = int64_t{spec.kv_heads} * spec.value_width;
    RowOrder turned;
    if (traits.gguf_rope_neighbours && spec.rope >= 0) {
        turned.head_width = spec.key_width;
        turned.rotary_width = config.ropes[static_cast<size_t>(spec.rope)].rotary_width;
    }
    const Need biases = traits.attention_biases ? Need::wanted : Need::if_present;
    const Need norms = traits.head_norms ? Need::wanted : Need::never;
    const auto fused = [](RowOrder order, int64_t first, int head_width) {
        return MatrixOptions{.gguf = {.order = order},
                             .gguf_fused = "attn_qkv.weight",
                             .hugging_face_fused = "self_attn.qkv_proj.weight",
                             .fused_row = first,
                             .head_width = head_width};
    };
    visit.matrix(weights.query, {"query", "attn_q.weight", "self_attn.q_proj.weight"}, query, config.width,
                 fused(turned, 0, spec.key_width));
    visit.matrix(weights.key, {"key", "attn_k.weight", "self_attn.k_proj.weight"}, key, config.width,
                 fused(turned, query, spec.key_width));
    visit.matrix(weights.value, {"value", "attn_v.weight", "self_attn.v_proj.weight"}, value, config.width,
                 fused({}, query + key, spec.value_width));
    visit.matrix(weights.output, {"attention_output", "attn_output.weight", "self_attn.o_proj.weight"}, config.width,
                 int64_t{spec.heads} * spec.value_width, {});
    visit.vector(weights.query_bias, {"query_bias", "attn_q.bias", "self_attn.q_proj.bias"}, query, {biases, {turned}});
    visit.vector(weights.key_bias, {"key_bias", "attn_k.bias", "self_attn.k_proj.bias"}, key, {biases, {turned}});
    visit.vector(weights.value_bias, {"value_bias", "attn_v.bias", "self_attn.v_proj.bias"}, value, {biases, {}});
    visit.vector(weights.output_bias, {"attention_output_bias", "attn_output.bias", "self_attn.o_proj.bias"},
                 config.width, {Need::if_present, {}});
    visit.vector(weights.query_norm, {"query_norm", "attn_q_norm.weight", "self_attn.q_norm.weight"}, spec.key_width,
                 {norms, {}});
    visit.vector(weights.key_norm, {"key_norm", "attn_k_norm.weight", "self_attn.k_norm.weight"}, spec.key_width,
                 {norms, {}});
}

template <class Visitor>
void visit_ffn(Visitor& visit, const ModelConfig& config, const DenseGeometry& spec, const DecoderTraits&,
               DenseFfn& weights) {
    visit.matrix(weights.gate, {"gate", "ffn_gate.weight", "mlp.gate_proj.weight"}, spec.width, config.width, {});
    visit.matrix(weights.up, {"up", "ffn_up.weight", "mlp.up_proj.weight"}, spec.width, config.width, {});
    visit.matrix(weights.down, {"down", "ffn_down.weight", "mlp.down_proj.weight"}, config.width, spec.width, {});
}

template <class Visitor>
void visit_ffn(Visitor& visit, const ModelConfig& config, const MixtureGeometry& spec, const DecoderTraits& traits,
               MixtureFfn& weights) {
    const auto fused = [](int64_t first) {
        return MatrixOptions{.gguf_fused = "ffn_gate_up_exps.weight",
                             .hugging_face_fused = "mlp.experts.gate_up_proj",
                             .fused_row = first};
    };
    visit.matrix(weights.router, {"router", "ffn_gate_inp.weight", traits.mixture.router}, spec.experts, config.width,
                 {});
    visit.stack(weights.gate, {"expert_gate", "ffn_gate_exps.weight", traits.mixture.gate},
                {spec.experts, spec.width, config.width}, fused(0));
    visit.stack(weights.up, {"expert_up", "ffn_up_exps.weight", traits.mixture.up},
                {spec.experts, spec.width, config.width}, fused(spec.width));
    visit.stack(weights.down, {"expert_down", "ffn_down_exps.weight", traits.mixture.down},
                {spec.experts, config.width, spec.width}, {});
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
    visit.vector(layer.mixer_norm, {"attention_norm", "attn_norm.weight", "input_layernorm.weight"}, config.width, {});
    if (const AttentionGeometry* attention = spec.attention()) {
        visit_kind<AttentionWeights>(
            layer.mixer, [&](AttentionWeights& weights) { visit_mixer(visit, config, *attention, traits, weights); });
    }
    visit.vector(layer.ffn_norm, {"ffn_norm", "ffn_norm.weight", "post_attention_layernorm.weight"}, config.width, {});
    if (const DenseGeometry* dense = spec.dense()) {
        visit_kind<DenseFfn>(layer.ffn, [&](DenseFfn& weights) { visit_ffn(visit, config, *dense, traits, weights); });
    } else if (const MixtureGeometry* mixture = spec.mixture()) {
        visit_kind<MixtureFfn>(layer.ffn,
                               [&](MixtureFfn& weights) { visit_ffn(visit, config, *mixture, traits, weights); });
    }
}

template <class Visitor>
void visit_decoder(Visitor& visit, const ModelConfig& config, const DecoderTraits& traits, DecoderWeights& weights) {
    visit.layer(-1);
    visit.matrix(weights.embedding, {"token_embedding", "token_embd.weight", "embed_tokens.weight"}, config.vocabulary,
                 config.width, {.use = MatrixOptions::Use::table});
    visit.vector(weights.output_norm, {"output_norm", "output_norm.weight", "norm.weight"}, config.width, {});
    visit.matrix(weights.head, {"output_head", "output.weight", "lm_head.weight"}, config.vocabulary, config.width,
                 {.use = MatrixOptions::Use::logits, .alias_of = "token_embedding"});
    weights.layers.resize(config.layers.size());
    for (size_t i = 0; i < config.layers.size(); ++i) {
        visit.layer(static_cast<int>(i));
        visit_layer(visit, config, config.layers[i], traits, weights.layers[i]);
    }
}

}  // namespace invar
