// The weights of attention and of latent attention, listed once: a part of decoder_weights.h. Queries, keys and values
// may be tensors of their own or rows of one.
#pragma once

#include <cstdint>
#include <string_view>

#include "models/decoder.h"
#include "models/weight_options.h"

namespace invar {

// Which rows of one tensor with queries, keys and values are each of them: all queries and then all keys and values, or
// those of one KV head after those of the other.
struct FusedRows {
    RowOrder query, key, value;

    FusedRows(const AttentionGeometry& spec, bool by_group) {
        const int64_t key_rows = spec.key_width, value_rows = spec.value_width;
        const int64_t query_rows = int64_t{spec.heads} / spec.kv_heads * key_rows * (spec.gated ? 2 : 1);
        if (!by_group) {
            key.first = spec.kv_heads * query_rows;
            value.first = key.first + spec.kv_heads * key_rows;
            return;
        }
        const int64_t group = query_rows + key_rows + value_rows;
        query.groups = {spec.kv_heads, group, {query_rows}};
        key = {.first = query_rows, .groups = {spec.kv_heads, group, {key_rows}}};
        value = {.first = query_rows + key_rows, .groups = {spec.kv_heads, group, {value_rows}}};
    }
};

template <class Visitor>
void visit_attention_vectors(Visitor& visit, const ModelConfig& config, const AttentionGeometry& spec,
                             const DecoderTraits& traits, const RowOrder& turned, AttentionWeights& weights) {
    const AttentionNames& names = traits.attention;
    const int64_t query = int64_t{spec.heads} * spec.key_width * (spec.gated ? 2 : 1);
    const int64_t key = int64_t{spec.kv_heads} * spec.key_width, value = int64_t{spec.kv_heads} * spec.value_width;
    const Need biases = traits.attention_biases ? Need::wanted : Need::if_present;
    const bool own_keys = spec.shares < 0;
    const FusedRows in_turn(spec, false), in_file(spec, traits.fused_by_group);
    const auto bias = [&](RowOrder order, const RowOrder& fused, const RowOrder& fused_in_file) {
        VectorOptions options{biases, {order}, {}};
        order.first = fused.first;
        options.others.push_back({Dialect::gguf, "attn_qkv.bias", {.order = order}});
        if (!names.fused_bias.empty())
            options.others.push_back({Dialect::hugging_face, names.fused_bias, {.order = fused_in_file}});
        return options;
    };
    visit.vector(weights.query_bias, {"query_bias", "attn_q.bias", names.query_bias}, query,
                 bias(turned, in_turn.query, in_file.query));
    if (own_keys) {
        visit.vector(weights.key_bias, {"key_bias", "attn_k.bias", names.key_bias}, key,
                     bias(turned, in_turn.key, in_file.key));
        if (!spec.values_are_keys) {
            visit.vector(weights.value_bias, {"value_bias", "attn_v.bias", names.value_bias}, value,
                         bias({}, in_turn.value, in_file.value));
        }
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
    const HeldAs plain{.transposed = traits.stored_by_column ? Transposed::yes : Transposed::no};
    const FusedRows in_turn(spec, false), in_file(spec, traits.fused_by_group);
    const auto fused = [&](const RowOrder& order, const RowOrder& rows, const RowOrder& rows_in_file, int head_width) {
        MatrixOptions options{.gguf = {.order = order},
                              .hugging_face = plain,
                              .gguf_fused = "attn_qkv.weight",
                              .fused_row = rows.first,
                              .head_width = head_width};
        HeldAs part = plain;
        part.order = rows_in_file;
        options.others.push_back({Dialect::hugging_face, names.fused, part});
        return options;
    };
    visit.matrix(weights.query, {"query", "attn_q.weight", names.query}, query, config.width,
                 fused(turned, in_turn.query, in_file.query, spec.key_width));
    if (spec.shares < 0) {
        visit.matrix(weights.key, {"key", "attn_k.weight", names.key}, key, config.width,
                     fused(turned, in_turn.key, in_file.key, spec.key_width));
        if (!spec.values_are_keys) {
            visit.matrix(weights.value, {"value", "attn_v.weight", names.value}, value, config.width,
                         fused({}, in_turn.value, in_file.value, spec.value_width));
        }
    }
    visit.matrix(weights.output, {"attention_output", "attn_output.weight", names.output}, config.width,
                 int64_t{spec.heads} * spec.value_width, {.hugging_face = plain});
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
