// The weights of attention and of latent attention, listed once: a part of decoder_weights.h. Queries, keys and values
// may be tensors of their own or rows of one.
#pragma once

#include <cstdint>
#include <string_view>

#include "models/decoder.h"
#include "models/weight_options.h"

namespace invar {

template <class Visitor>
void visit_attention_vectors(Visitor& visit, const ModelConfig& config, const AttentionGeometry& spec,
                             const DecoderTraits& traits, const RowOrder& turned, AttentionWeights& weights) {
    const AttentionNames& names = traits.attention;
    const int64_t query = int64_t{spec.heads} * spec.key_width * (spec.gated ? 2 : 1);
    const int64_t key = int64_t{spec.kv_heads} * spec.key_width, value = int64_t{spec.kv_heads} * spec.value_width;
    const Need biases = traits.attention_biases ? Need::wanted : Need::if_present;
    const bool own_keys = spec.shares < 0;
    visit.vector(weights.query_bias, {"query_bias", "attn_q.bias", names.query_bias}, query, {biases, {turned}, {}});
    if (own_keys) {
        visit.vector(weights.key_bias, {"key_bias", "attn_k.bias", names.key_bias}, key, {biases, {turned}, {}});
        if (!spec.values_are_keys)
            visit.vector(weights.value_bias, {"value_bias", "attn_v.bias", names.value_bias}, value, {biases, {}, {}});
    }
    visit.vector(weights.output_bias, {"attention_output_bias", "attn_output.bias", names.output_bias}, config.width,
                 {traits.output_biases ? Need::wanted : Need::if_present, {}, {}});
    const Need norms = traits.head_norms || traits.whole_norms ? Need::wanted : Need::never;
    const int64_t heads = int64_t{spec.heads} * spec.key_width;
    visit.vector(weights.query_norm, {"query_norm", "attn_q_norm.weight", names.query_norm},
                 traits.whole_norms ? heads : spec.key_width, norm_options(traits, norms));
    if (own_keys) {
        visit.vector(weights.key_norm, {"key_norm", "attn_k_norm.weight", names.key_norm},
                     traits.whole_norms ? key : spec.key_width, norm_options(traits, norms));
    }
    if (spec.sinks) visit.vector(weights.sinks, {"sinks", "attn_sinks.weight", names.sinks}, spec.heads, {});
}

template <class Visitor>
void visit_mixer(Visitor& visit, const ModelConfig& config, const AttentionGeometry& spec, const DecoderTraits& traits,
                 AttentionWeights& weights) {
    const AttentionNames& names = traits.attention;
    const int64_t query = int64_t{spec.heads} * spec.key_width * (spec.gated ? 2 : 1);
    const int64_t key = int64_t{spec.kv_heads} * spec.key_width, value = int64_t{spec.kv_heads} * spec.value_width;
    RowOrder turned;
    if (traits.gguf_rope_neighbours) {  // the rows of layers without rope, too
        turned.head_width = spec.key_width;
        turned.rotary_width =
            spec.rope >= 0 ? config.ropes[static_cast<size_t>(spec.rope)].rotary_width : spec.key_width;
    }
    const auto fused = [&](RowOrder order, int64_t first, int head_width) {
        return MatrixOptions{.gguf = {.order = order},
                             .gguf_fused = "attn_qkv.weight",
                             .hugging_face_fused = names.fused,
                             .fused_row = first,
                             .head_width = head_width};
    };
    visit.matrix(weights.query, {"query", "attn_q.weight", names.query}, query, config.width,
                 fused(turned, 0, spec.key_width));
    if (spec.shares < 0) {
        visit.matrix(weights.key, {"key", "attn_k.weight", names.key}, key, config.width,
                     fused(turned, query, spec.key_width));
        if (!spec.values_are_keys) {
            visit.matrix(weights.value, {"value", "attn_v.weight", names.value}, value, config.width,
                         fused({}, query + key, spec.value_width));
        }
    }
    visit.matrix(weights.output, {"attention_output", "attn_output.weight", names.output}, config.width,
                 int64_t{spec.heads} * spec.value_width, {});
    visit_attention_vectors(visit, config, spec, traits, turned, weights);
}

template <class Visitor>
void visit_mixer(Visitor& visit, const ModelConfig& config, const LatentGeometry& spec, const DecoderTraits&,
                 LatentWeights& weights) {
    const int64_t heads = spec.heads, latent = spec.latent, query = heads * (spec.plain_width + spec.rope_width);
    if (spec.query_rank > 0) {
        visit.matrix(weights.query_down, {"query_down", "attn_q_a.weight", "self_attn.q_a_proj.weight"},
                     spec.query_rank, config.width, {});
        visit.vector(weights.query_norm, {"query_down_norm", "attn_q_a_norm.weight", "self_attn.q_a_layernorm.weight"},
                     spec.query_rank, {});
        visit.matrix(weights.query, {"query", "attn_q_b.weight", "self_attn.q_b_proj.weight"}, query, spec.query_rank,
                     {});
    } else {
        visit.matrix(weights.query, {"query", "attn_q.weight", "self_attn.q_proj.weight"}, query, config.width, {});
    }
    visit.matrix(weights.latent, {"latent", "attn_kv_a_mqa.weight", "self_attn.kv_a_proj_with_mqa.weight"},
                 latent + spec.rope_width, config.width, {});
    visit.vector(weights.latent_norm, {"latent_norm", "attn_kv_a_norm.weight", "self_attn.kv_a_layernorm.weight"},
                 spec.latent, {});
    const int64_t of_head = spec.plain_width + spec.value_width;
    const HeldAs key{.matrix_rows = of_head, .transposed = Transposed::yes};
    const HeldAs value{.order = {.first = spec.plain_width}, .matrix_rows = of_head};
    constexpr std::string_view kBoth = "self_attn.kv_b_proj.weight", kOldBoth = "attn_kv_b.weight";
    const auto held = [&](const HeldAs& as) {
        MatrixOptions options;
        options.hugging_face = as;
        options.others.push_back({Dialect::gguf, kOldBoth, as});
        return options;
    };
    visit.stack(weights.key_up, {"key_up", "attn_k_b.weight", kBoth}, {heads, latent, spec.plain_width}, held(key));
    visit.stack(weights.value_up, {"value_up", "attn_v_b.weight", kBoth}, {heads, spec.value_width, latent},
                held(value));
    visit.matrix(weights.output, {"attention_output", "attn_output.weight", "self_attn.o_proj.weight"}, config.width,
                 int64_t{spec.heads} * spec.value_width, {});
}

}  // namespace invar
