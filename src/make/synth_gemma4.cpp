// Names, shapes and numbers of Gemma 4 as its writers have them: see synth_gemma4.h.
#include "make/synth_gemma4.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"

namespace invar {

bool gemma4_slides(int layer, int layers) { return (layer + 1) % 6 != 0 && layer + 1 != layers; }

int64_t gemma4_head_width(const SynthShape& shape, bool slides) {
    return slides ? shape.head_width : shape.full_head_width;
}

int64_t gemma4_kv_heads(const SynthShape& shape, bool slides) { return slides ? shape.kv_heads : shape.full_kv_heads; }

std::vector<SynthNamedShape> gemma4_tensors(const SynthShape& shape, int layers) {
    const int64_t width = shape.width, experts = shape.experts;
    std::vector<SynthNamedShape> tensors = {{"rope_freqs.weight", {shape.full_head_width / 2}},
                                            {"token_embd.weight", {shape.vocabulary, width}},
                                            {"output_norm.weight", {width}}};
    for (int layer = 0; layer < layers; ++layer) {
        const auto add = [&](std::string_view part, std::vector<int64_t> dimensions) {
            tensors.push_back({fmt::format("blk.{}.{}", layer, part), std::move(dimensions)});
        };
        const bool slides = gemma4_slides(layer, layers);
        const int64_t head = gemma4_head_width(shape, slides), key = gemma4_kv_heads(shape, slides) * head;
        add("attn_norm.weight", {width});
        add("attn_q.weight", {shape.heads * head, width});
        add("attn_k.weight", {key, width});
        if (slides) add("attn_v.weight", {key, width});
        add("attn_output.weight", {width, shape.heads * head});
        add("attn_q_norm.weight", {head});
        add("attn_k_norm.weight", {head});
        add("post_attention_norm.weight", {width});
        add("ffn_norm.weight", {width});
        add("ffn_gate.weight", {shape.ffn_width, width});
        add("ffn_up.weight", {shape.ffn_width, width});
        add("ffn_down.weight", {width, shape.ffn_width});
        add("ffn_gate_inp.weight", {experts, width});
        add("ffn_gate_inp.scale", {width});
        add("ffn_gate_up_exps.weight", {experts, 2 * shape.expert_width, width});
        add("ffn_down_exps.weight", {experts, width, shape.expert_width});
        add("ffn_down_exps.scale", {experts});
        for (const char* norm : {"post_ffw_norm_1", "pre_ffw_norm_2", "post_ffw_norm_2", "post_ffw_norm"})
            add(fmt::format("{}.weight", norm), {width});
        add("layer_output_scale.weight", {1});
    }
    return tensors;
}

void add_gemma4_metadata(GgufWriter& writer, const SynthShape& shape, int layers) {
    std::vector<int32_t> kv_heads;
    std::vector<uint8_t> slides;
    for (int layer = 0; layer < layers; ++layer) {
        slides.push_back(gemma4_slides(layer, layers) ? 1 : 0);
        kv_heads.push_back(static_cast<int32_t>(gemma4_kv_heads(shape, slides.back() != 0)));
    }
    const auto local = static_cast<uint32_t>(shape.head_width), full = static_cast<uint32_t>(shape.full_head_width);
    writer.add_array("gemma4.attention.head_count_kv", std::span<const int32_t>(kv_heads));
    writer.add_booleans("gemma4.attention.sliding_window_pattern", slides);
    writer.add("gemma4.attention.sliding_window", static_cast<uint32_t>(shape.window));
    writer.add("gemma4.attention.shared_kv_layers", uint32_t{0});
    for (const char* part : {"attention.key_length", "attention.value_length", "rope.dimension_count"}) {
        writer.add(fmt::format("gemma4.{}", part), full);
        writer.add(fmt::format("gemma4.{}_swa", part), local);
    }
    writer.add("gemma4.rope.freq_base_swa", 1e4f);
    writer.add("gemma4.final_logit_softcapping", 30.0f);
    writer.add("gemma4.embedding_length_per_layer_input", uint32_t{0});
}

std::vector<float> gemma4_frequency_factors(int64_t pairs) {
    std::vector<float> factors(static_cast<size_t>(pairs), 1e30f);
    std::fill_n(factors.begin(), pairs / 4, 1.0f);
    return factors;
}

Json gemma4_text_config(const SynthShape& shape, int layers) {
    Json kinds = Json::array();
    for (int layer = 0; layer < layers; ++layer)
        kinds.push_back(gemma4_slides(layer, layers) ? "sliding_attention" : "full_attention");
    const Json full = {{"partial_rotary_factor", 0.25}, {"rope_theta", shape.rope_base}, {"rope_type", "proportional"}};
    const Json local = {{"rope_theta", 10000.0}, {"rope_type", "default"}};
    return {{"attention_bias", false},
            {"attention_dropout", 0.0},
            {"attention_k_eq_v", true},
            {"bos_token_id", shape.vocabulary - 2},
            {"enable_moe_block", true},
            {"eos_token_id", shape.vocabulary - 1},
            {"final_logit_softcapping", 30.0},
            {"global_head_dim", shape.full_head_width},
            {"head_dim", shape.head_width},
            {"hidden_activation", "gelu_pytorch_tanh"},
            {"hidden_size", shape.width},
            {"hidden_size_per_layer_input", 0},
            {"initializer_range", 0.02},
            {"intermediate_size", shape.ffn_width},
            {"layer_types", kinds},
            {"max_position_embeddings", shape.context},
            {"model_type", "gemma4_text"},
            {"moe_intermediate_size", shape.expert_width},
            {"num_attention_heads", shape.heads},
            {"num_experts", shape.experts},
            {"num_global_key_value_heads", shape.full_kv_heads},
            {"num_hidden_layers", layers},
            {"num_key_value_heads", shape.kv_heads},
            {"num_kv_shared_layers", 0},
            {"rms_norm_eps", 1e-6},
            {"rope_parameters", {{"full_attention", full}, {"sliding_attention", local}}},
            {"sliding_window", shape.window},
            {"tie_word_embeddings", shape.tied},
            {"top_k_experts", shape.experts_per_token},
            {"use_bidirectional_attention", nullptr},
            {"use_cache", true},
            {"use_double_wide_mlp", false},
            {"vocab_size", shape.vocabulary},
            {"vocab_size_per_layer_input", shape.vocabulary}};
}

}  // namespace invar
