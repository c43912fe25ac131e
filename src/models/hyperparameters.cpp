// The table of words and their keys in each dialect, the defaults of model types, and the checks of each type of value:
// see hyperparameters.h.
#include "models/hyperparameters.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/json.h"
#include "files/json_document.h"
#include "files/model_directory.h"
#include "files/printable.h"

namespace invar {
namespace {

// Our word for a hyper-parameter, and each dialect's. GGUF's keys stand behind "<architecture>."; of those of
// config.json and params.json the first that is there counts, new spelling first, "." leading into an object.
struct Word {
    std::string_view ours, gguf;
    std::vector<std::string_view> hugging_face = {}, mistral = {};
};

const std::vector<Word>& words() {
    static const std::vector<Word> kWords = {
        {"layers", "block_count", {"num_hidden_layers"}, {"n_layers"}},
        {"width", "embedding_length", {"hidden_size"}, {"dim"}},
        {"context", "context_length", {"max_position_embeddings"}, {"max_position_embeddings", "max_seq_len"}},
        {"vocabulary", "vocab_size", {"vocab_size"}, {"vocab_size"}},
        {"norm epsilon", "attention.layer_norm_rms_epsilon", {"rms_norm_eps"}, {"norm_eps"}},
        {"tied head", "", {"tie_word_embeddings"}, {"tied_embeddings"}},
        {"activation", "", {"hidden_act", "hidden_activation"}, {"activation"}},
        {"heads", "attention.head_count", {"num_attention_heads"}, {"n_heads"}},
        {"KV heads", "attention.head_count_kv", {"num_key_value_heads"}, {"n_kv_heads"}},
        {"key width", "attention.key_length", {"head_dim", "attention_head_dim"}, {"head_dim"}},
        {"value width", "attention.value_length", {"head_dim", "attention_head_dim"}, {"head_dim"}},
        {"window", "attention.sliding_window", {"sliding_window"}, {"sliding_window"}},
        {"windows used", "", {"use_sliding_window"}},
        {"first window layer", "", {"max_window_layers"}},
        {"layer kinds", "", {"layer_types"}},
        {"ffn width", "feed_forward_length", {"intermediate_size"}, {"hidden_dim"}},
        {"experts",
         "expert_count",
         {"moe_num_experts", "num_experts", "num_local_experts", "n_routed_experts"},
         {"moe.num_experts"}},
        {"experts per token",
         "expert_used_count",
         {"moe_topk", "moe_k", "num_experts_per_tok", "top_k_experts"},
         {"moe.num_experts_per_tok"}},
        {"expert width", "expert_feed_forward_length", {"moe_intermediate_size"}},
        {"renormalise", "expert_weights_norm", {"norm_topk_prob"}},
        {"mixture step", "", {"decoder_sparse_step"}},
        {"dense layers", "", {"mlp_only_layers"}},
        {"shared experts", "expert_shared_count", {"num_shared_expert", "moe_num_shared_experts", "n_shared_experts"}},
        {"shared expert width",
         "expert_shared_feed_forward_length",
         {"shared_expert_intermediate_size", "moe_shared_expert_intermediate_size", "shared_intermediate_size"}},
        {"router", "expert_gating_func", {"scoring_func"}},
        {"choice of experts", "", {"topk_method"}},
        {"expert factor", "expert_weights_scale", {"routed_scaling_factor"}},
        {"expert groups", "expert_group_count", {"n_group"}},
        {"used expert groups", "expert_group_used_count", {"topk_group"}},
        {"first mixture layer", "leading_dense_block_count", {"first_k_dense_replace"}},
        {"kinds of feed-forward parts", "", {"mlp_layer_types"}},
        {"further layers", "nextn_predict_layers", {"num_nextn_predict_layers", "num_mtp_layers"}},
        {"latent width", "attention.kv_lora_rank", {"kv_lora_rank"}},
        {"query rank", "attention.q_lora_rank", {"q_lora_rank"}},
        {"latent key width", "attention.key_length_mla", {}},  // of a head, both parts
        {"latent value width", "attention.value_length_mla", {"v_head_dim"}},
        {"plain key width", "", {"qk_nope_head_dim"}},
        {"rotated key width", "rope.dimension_count", {"qk_rope_head_dim"}},
        {"interleaved rope", "", {"rope_interleave"}},
        {"query and key norms", "", {"use_qk_norm"}},
        {"query temperature",
         "attention.temperature_scale",
         {"rope_parameters.llama_4_scaling_beta"},
         {"llama_4_scaling.beta"}},
        {"query temperature length", "", {}, {"llama_4_scaling.original_max_position_embeddings"}},
        {"rope width", "rope.dimension_count", {"rotary_dim"}},
        {"rope share", "", {"rope_parameters.partial_rotary_factor", "partial_rotary_factor"}},
        {"rope base",
         "rope.freq_base",
         {"rope_parameters.rope_theta", "rope_theta", "rope_parameters.full_attention.rope_theta"},
         {"rope_theta"}},
        {"rope scaling",
         "rope.scaling.type",
         {"rope_parameters.rope_type", "rope_parameters.type", "rope_scaling.rope_type", "rope_scaling.type",
          "rope_parameters.full_attention.rope_type"}},
        {"rope factor",
         "rope.scaling.factor",
         {"rope_parameters.factor", "rope_scaling.factor", "rope_parameters.full_attention.factor"},
         {"yarn.factor"}},
        {"old rope factor", "rope.scale_linear", {}},  // of files from before rope.scaling.*
        {"rope original context",
         "rope.scaling.original_context_length",
         {"rope_parameters.original_max_position_embeddings", "rope_scaling.original_max_position_embeddings",
          "original_max_position_embeddings", "rope_parameters.full_attention.original_max_position_embeddings"},
         {"yarn.original_max_position_embeddings"}},
        {"low frequency factor", "", {"rope_parameters.low_freq_factor", "rope_scaling.low_freq_factor"}},
        {"high frequency factor", "", {"rope_parameters.high_freq_factor", "rope_scaling.high_freq_factor"}},
        {"yarn beta fast",
         "rope.scaling.yarn_beta_fast",
         {"rope_parameters.beta_fast", "rope_scaling.beta_fast", "rope_parameters.full_attention.beta_fast"},
         {"yarn.beta"}},
        {"yarn beta slow",
         "rope.scaling.yarn_beta_slow",
         {"rope_parameters.beta_slow", "rope_scaling.beta_slow", "rope_parameters.full_attention.beta_slow"},
         {"yarn.alpha"}},
        {"yarn extrapolation", "rope.scaling.yarn_ext_factor", {}},
        {"yarn attention", "rope.scaling.yarn_attn_factor", {}},
        {"rope attention", "rope.scaling.attn_factor", {}},
        {"yarn multiplier",
         "",
         {"rope_parameters.attention_factor", "rope_scaling.attention_factor",
          "rope_parameters.full_attention.attention_factor"}},
        {"yarn scale", "rope.scaling.yarn_log_multiplier", {"rope_parameters.mscale", "rope_scaling.mscale"}},
        {"yarn scale of all", "", {"rope_parameters.mscale_all_dim", "rope_scaling.mscale_all_dim"}},
        {"yarn block", "", {}, {"yarn"}},
        {"yarn scales attention", "", {}, {"yarn.apply_scale"}},
        {"yarn whole boundaries", "", {"rope_parameters.truncate", "rope_scaling.truncate"}},
        // Of Gemma. "local" is what layers with a window have, "full" what the others have.
        {"query scalar", "", {"query_pre_attn_scalar"}},
        {"score softcap", "attn_logit_softcapping", {"attn_logit_softcapping"}},
        {"logit softcap", "final_logit_softcapping", {"final_logit_softcapping"}},
        {"window pattern", "attention.sliding_window_pattern", {"sliding_window_pattern"}},
        {"local rope base",
         "rope.freq_base_swa",
         {"rope_parameters.sliding_attention.rope_theta", "rope_local_base_freq"}},
        {"local rope scaling", "", {"rope_parameters.sliding_attention.rope_type"}},
        {"local rope width", "rope.dimension_count_swa", {}},
        {"turning part of full rope", "", {"rope_parameters.full_attention.partial_rotary_factor"}},
        {"local key width", "attention.key_length_swa", {"head_dim"}},
        {"local value width", "attention.value_length_swa", {"head_dim"}},
        {"full key width", "attention.key_length", {"global_head_dim"}},
        {"full value width", "attention.value_length", {"global_head_dim"}},
        {"full KV heads", "", {"num_global_key_value_heads"}},
        {"values are keys", "", {"attention_k_eq_v"}},
        {"layers that share keys", "attention.shared_kv_layers", {"num_kv_shared_layers"}},
        {"double width", "", {"use_double_wide_mlp"}},
        {"mixture used", "", {"enable_moe_block"}},
        {"per-layer width", "embedding_length_per_layer_input", {"hidden_size_per_layer_input"}},
        {"attention both ways", "", {"use_bidirectional_attention"}},
        // Gated delta nets
        {"recurrent layers", "attention.recurrent_layers", {}},
        {"attention interval", "full_attention_interval", {"full_attention_interval"}},
        {"delta key heads", "ssm.group_count", {"linear_num_key_heads"}},
        {"delta value heads", "ssm.time_step_rank", {"linear_num_value_heads"}},
        {"delta key width", "ssm.state_size", {"linear_key_head_dim"}},
        {"delta value width", "", {"linear_value_head_dim"}},
        {"delta values", "ssm.inner_size", {}},  // elements of all value heads together
        {"delta taps", "ssm.conv_kernel", {"linear_conv_kernel_dim"}},
        {"output gates", "", {"attn_output_gate"}},
        {"short rope factors", "", {"rope_parameters.short_factor", "rope_scaling.short_factor"}},
        {"long rope factors", "", {"rope_parameters.long_factor", "rope_scaling.long_factor"}},
        {"rope trained", "rope.scaling.finetuned", {}},
        {"kind of positions", "", {"position_embedding_type"}},
        {"activation limit", "", {"swiglu_limit"}},
        {"activation alpha", "", {"swiglu_alpha"}},
        // Mamba 2
        {"state groups", "ssm.group_count", {"n_groups", "mamba_n_groups"}},
        {"state heads", "ssm.time_step_rank", {"mamba_num_heads", "mamba_n_heads"}},
        {"state head width", "", {"mamba_head_dim", "mamba_d_head"}},
        {"state expansion", "", {"mamba_expand"}},
        {"state values", "ssm.inner_size", {}},  // elements of all heads together
        {"state width", "ssm.state_size", {"ssm_state_size", "mamba_d_state"}},
        {"state taps", "ssm.conv_kernel", {"conv_kernel", "mamba_d_conv"}},
        {"convolution biases", "", {"use_conv_bias", "mamba_conv_bias"}},
        // Nemotron-H
        {"layer norm epsilon",
         "attention.layer_norm_epsilon",
         {"layer_norm_eps", "norm_epsilon", "layer_norm_epsilon"}},
        {"layer pattern", "", {"hybrid_override_pattern"}},
        {"kinds of blocks", "", {"layers_block_type", "layer_types"}},
        {"ungated activation", "", {"mlp_hidden_act"}},
        {"expert latent width", "moe_latent_size", {"moe_latent_size"}},
        {"projection biases", "", {"use_bias"}},
        {"embedding scale", "embedding_scale", {"embedding_multiplier"}},
        {"residual scale", "residual_scale", {"residual_multiplier"}},
        {"score scale", "attention.scale", {"attention_multiplier"}},
        {"logit divisor", "logit_scale", {"logits_scaling"}},
        {"logit scale", "logit_scale", {"logit_scale"}},
        {"layers with rope", "", {"no_rope_layers"}},  // 1 for each layer whose positions are rotated
        {"interval without rope", "", {"no_rope_layer_interval"}},
        {"dynamic rope alpha", "", {"rope_parameters.alpha", "rope_scaling.alpha"}},
        {"first layer of experts", "leading_dense_block_count", {"moe_layer_start_index"}},
        {"last layer of experts", "", {"moe_layer_end_index"}},
        {"step of experts", "interleave_moe_layer_step", {"moe_layer_interval"}},
    };
    return kWords;
}

// The value that the code of a model type takes if config.json has no such key. A key that is null counts as absent.
struct ClassDefault {
    std::string_view model_type, word;
    double value;
};
constexpr ClassDefault kClassDefaults[] = {
    {"llama", "norm epsilon", 1e-6},
    {"llama", "rope base", 1e4},
    {"mistral", "norm epsilon", 1e-6},
    {"mistral", "rope base", 1e4},
    {"mistral", "KV heads", 8},
    {"mistral", "window", 4096},
    {"mixtral", "norm epsilon", 1e-5},
    {"mixtral", "rope base", 1e6},
    {"mixtral", "KV heads", 8},
    {"qwen2", "norm epsilon", 1e-6},
    {"qwen2", "rope base", 1e4},
    {"qwen2", "KV heads", 32},
    {"qwen3", "norm epsilon", 1e-6},
    {"qwen3", "rope base", 1e4},
    {"qwen3", "KV heads", 32},
    {"qwen3_moe", "norm epsilon", 1e-6},
    {"qwen3_moe", "rope base", 1e4},
    {"qwen3_moe", "KV heads", 4},
    {"qwen2_moe", "norm epsilon", 1e-6},
    {"qwen2_moe", "rope base", 1e4},
    {"qwen2_moe", "KV heads", 16},
    {"qwen3_next", "norm epsilon", 1e-6},
    {"qwen3_next", "rope base", 1e4},
    {"qwen3_next", "rope share", 0.25},
    {"qwen3_5_text", "norm epsilon", 1e-6},
    {"qwen3_5_text", "rope base", 1e4},
    {"qwen3_5_text", "rope share", 0.25},
    {"qwen3_5_moe_text", "norm epsilon", 1e-6},
    {"qwen3_5_moe_text", "rope base", 1e4},
    {"qwen3_5_moe_text", "rope share", 0.25},
    {"deepseek_v2", "norm epsilon", 1e-6},
    {"deepseek_v2", "rope base", 1e4},
    {"deepseek_v2", "first mixture layer", 0},
    {"deepseek_v2", "shared experts", 2},
    {"deepseek_v2", "expert factor", 1},
    {"deepseek_v3", "norm epsilon", 1e-6},
    {"deepseek_v3", "rope base", 1e4},
    {"deepseek_v3", "first mixture layer", 3},
    {"deepseek_v3", "shared experts", 1},
    {"deepseek_v3", "expert factor", 2.5},
    {"deepseek_v3", "expert groups", 8},
    {"deepseek_v3", "used expert groups", 4},
    {"glm4_moe_lite", "norm epsilon", 1e-5},
    {"glm4_moe_lite", "rope base", 1e4},
    {"glm4_moe_lite", "first mixture layer", 1},
    {"glm4_moe_lite", "shared experts", 1},
    {"glm4_moe_lite", "expert factor", 1.8},
    {"glm4_moe_lite", "expert groups", 1},
    {"glm4_moe_lite", "used expert groups", 1},
    {"glm4_moe", "norm epsilon", 1e-5},
    {"glm4_moe", "rope base", 1e4},
    {"glm4_moe", "first mixture layer", 1},
    {"glm4_moe", "shared experts", 1},
    {"glm4_moe", "expert factor", 1},
    {"glm4_moe", "expert groups", 1},
    {"glm4_moe", "used expert groups", 1},
    {"glm4_moe", "KV heads", 8},
    {"glm4_moe", "rope share", 0.5},
    {"glm4", "norm epsilon", 1.5625e-7},
    {"glm4", "rope base", 1e4},
    {"glm4", "KV heads", 2},
    {"glm4", "key width", 128},
    {"glm4", "value width", 128},
    {"glm4", "rope share", 0.5},
    {"gpt_oss", "norm epsilon", 1e-5},
    {"gpt_oss", "rope base", 150000},
    {"gpt_oss", "KV heads", 8},
    {"gpt_oss", "key width", 64},
    {"gpt_oss", "value width", 64},
    {"gpt_oss", "window", 128},
    {"ministral3", "norm epsilon", 1e-5},
    {"ministral3", "KV heads", 8},
    {"ministral3", "key width", 128},
    {"ministral3", "value width", 128},
    {"phi3", "norm epsilon", 1e-5},
    {"phi3", "rope base", 1e4},
    {"phi3", "rope original context", 4096},
    {"granite", "norm epsilon", 1e-6},
    {"granite", "rope base", 1e4},
    {"granite", "score scale", 1},
    {"granitemoe", "norm epsilon", 1e-6},
    {"granitemoe", "rope base", 1e4},
    {"granitemoe", "score scale", 1},
    {"smollm3", "norm epsilon", 1e-6},
    {"smollm3", "rope base", 2e6},
    {"smollm3", "KV heads", 4},
    {"smollm3", "context", 32768},
    {"smollm3", "interval without rope", 4},
    {"smollm3", "tied head", 1},
    {"seed_oss", "norm epsilon", 1e-6},
    {"seed_oss", "rope base", 1e4},
    {"seed_oss", "KV heads", 8},
    {"seed_oss", "key width", 128},
    {"seed_oss", "value width", 128},
    {"olmo2", "norm epsilon", 1e-5},
    {"olmo2", "rope base", 1e4},
    {"olmo2", "context", 2048},
    {"olmo3", "norm epsilon", 1e-5},
    {"olmo3", "rope base", 5e5},
    {"olmo3", "context", 2048},
    {"olmo3", "window", 4096},
    {"exaone4", "norm epsilon", 1e-5},
    {"exaone4", "rope base", 1e4},
    {"exaone4", "KV heads", 32},
    {"exaone4", "context", 2048},
    {"exaone4", "window", 4096},
    {"ernie4_5", "norm epsilon", 1e-5},
    {"ernie4_5", "rope base", 5e5},
    {"ernie4_5", "KV heads", 2},
    {"ernie4_5", "key width", 128},
    {"ernie4_5", "value width", 128},
    {"ernie4_5", "tied head", 1},
    {"ernie4_5_moe", "norm epsilon", 1e-5},
    {"ernie4_5_moe", "rope base", 5e5},
    {"ernie4_5_moe", "KV heads", 4},
    {"ernie4_5_moe", "experts", 64},
    {"ernie4_5_moe", "experts per token", 6},
    {"ernie4_5_moe", "expert width", 1536},
    {"ernie4_5_moe", "shared experts", 2},
    {"ernie4_5_moe", "first layer of experts", 1},
    {"ernie4_5_moe", "last layer of experts", -1},
    {"ernie4_5_moe", "step of experts", 1},
    {"ernie4_5_moe", "tied head", 1},
    {"hunyuan_v1_dense", "norm epsilon", 1e-5},
    {"hunyuan_v1_dense", "rope base", 1e4},
    {"hunyuan_v1_moe", "norm epsilon", 1e-5},
    {"hunyuan_v1_moe", "rope base", 1e4},
    {"minimax_m2", "norm epsilon", 1e-6},
    {"minimax_m2", "rope base", 5e6},
    {"minimax_m2", "KV heads", 8},
    {"minimax_m2", "key width", 128},
    {"minimax_m2", "value width", 128},
    {"cohere2", "layer norm epsilon", 1e-5},
    {"cohere2", "rope base", 1e4},
    {"cohere2", "window", 4096},
    {"cohere2", "logit scale", 0.0625},
    {"cohere2", "tied head", 1},
    {"starcoder2", "layer norm epsilon", 1e-5},
    {"starcoder2", "rope base", 1e4},
    {"starcoder2", "KV heads", 2},
    {"starcoder2", "tied head", 1},
    {"transformer", "context", 128000},  // params.json
    {"gemma2", "context", 8192},
    {"gemma2", "norm epsilon", 1e-6},
    {"gemma2", "heads", 8},
    {"gemma2", "KV heads", 4},
    {"gemma2", "key width", 256},
    {"gemma2", "value width", 256},
    {"gemma2", "rope base", 1e4},
    {"gemma2", "query scalar", 256},
    {"gemma2", "window", 4096},
    {"gemma2", "score softcap", 50},
    {"gemma2", "logit softcap", 30},
    {"gemma2", "tied head", 1},
    {"gemma3_text", "context", 131072},
    {"gemma3_text", "norm epsilon", 1e-6},
    {"gemma3_text", "heads", 8},
    {"gemma3_text", "KV heads", 4},
    {"gemma3_text", "key width", 256},
    {"gemma3_text", "value width", 256},
    {"gemma3_text", "rope base", 1e6},
    {"gemma3_text", "local rope base", 1e4},
    {"gemma3_text", "query scalar", 256},
    {"gemma3_text", "window", 4096},
    {"gemma3_text", "tied head", 1},
    {"gemma4_text", "context", 131072},
    {"gemma4_text", "norm epsilon", 1e-6},
    {"gemma4_text", "heads", 8},
    {"gemma4_text", "KV heads", 4},
    {"gemma4_text", "local key width", 256},
    {"gemma4_text", "local value width", 256},
    {"gemma4_text", "full key width", 512},
    {"gemma4_text", "full value width", 512},
    {"gemma4_text", "rope base", 1e6},
    {"gemma4_text", "local rope base", 1e4},
    {"gemma4_text", "turning part of full rope", 0.25},
    {"gemma4_text", "window", 512},
    {"gemma4_text", "per-layer width", 256},
    {"gemma4_text", "tied head", 1},
    {"nemotron_h", "layer norm epsilon", 1e-5},
    {"nemotron_h", "KV heads", 8},
    {"nemotron_h", "key width", 128},
    {"nemotron_h", "value width", 128},
    {"nemotron_h", "state groups", 8},
    {"nemotron_h", "state width", 128},
    {"nemotron_h", "state taps", 4},
    {"granitemoehybrid", "norm epsilon", 1e-6},
    {"granitemoehybrid", "score scale", 1},
    {"granitemoehybrid", "state groups", 1},
    {"granitemoehybrid", "state width", 256},
    {"granitemoehybrid", "state taps", 4},
};

// "tied head" is the only one that is true (1) or false.
Json value_of(const ClassDefault& one) { return one.word == "tied head" ? Json(one.value != 0) : Json(one.value); }

// What params.json calls every kind of model.
constexpr std::string_view kTransformer = "transformer";

const Word& find_word(std::string_view ours) {
    const auto found =
        std::find_if(words().begin(), words().end(), [&](const Word& word) { return word.ours == ours; });
    CHECK(found != words().end(), "only words of the table are asked for");
    return *found;
}

// The value at "a.b" of an object; null if a part is missing.
const Json* at_path(const Json& object, std::string_view path) {
    const Json* at = &object;
    while (true) {
        if (!at->is_object()) return nullptr;
        const size_t dot = path.find('.');
        const auto found = at->find(std::string(path.substr(0, dot)));
        if (found == at->end()) return nullptr;
        at = &*found;
        if (dot == std::string_view::npos) return at;
        path.remove_prefix(dot + 1);
    }
}

std::string shown(const Json& value) {
    return value.is_string() ? "'" + printable(value.get_ref<const std::string&>()) + "'" : printable(value.dump());
}

std::optional<int64_t> as_integer(const Json& value) {
    if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
    if (value.is_number_integer()) return value.get<int64_t>();
    if (!value.is_number_float()) return std::nullopt;
    const double number = value.get<double>();
    if (std::trunc(number) != number || std::fabs(number) > 0x1p53) return std::nullopt;
    return static_cast<int64_t>(number);
}

}  // namespace

Result<std::string> Hyperparameters::architecture(const Checkpoint& checkpoint) {
    if (checkpoint.dialect() == Dialect::gguf) {
        TRY_ASSIGN(const std::string_view name, checkpoint.metadata().string("general.architecture"));
        return std::string(name);
    }
    if (checkpoint.dialect() == Dialect::mistral) {
        const Json* scaled = at_path(checkpoint.config(), "llama_4_scaling");
        return std::string(scaled != nullptr && !scaled->is_null() ? "ministral3" : "mistral");
    }
    const Json& whole = checkpoint.directory()->config();
    const auto text = whole.find("text_config");
    if (text != whole.end() && !text->is_null() && !text->is_object()) {
        return fail("{}: the key 'text_config' is {}, but an object is needed", checkpoint.directory()->config_name(),
                    kind_of(*text));
    }
    const auto& config = checkpoint.config();
    const auto found = config.find("model_type");
    if (found == config.end() || !found->is_string()) {
        return fail("{}: config.json has no text 'model_type', which names the architecture", checkpoint.name());
    }
    return found->get<std::string>();
}

Hyperparameters::Hyperparameters(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {
    kind_ = checkpoint.dialect() == Dialect::mistral ? kTransformer : architecture(checkpoint).value_or("");
}

const std::vector<std::string_view>& Hyperparameters::paths(std::string_view word) const {
    const Word& found = find_word(word);
    return checkpoint_.dialect() == Dialect::mistral ? found.mistral : found.hugging_face;
}

std::string Hyperparameters::key(std::string_view word) const {
    if (checkpoint_.dialect() == Dialect::gguf) {
        const std::string_view gguf = find_word(word).gguf;
        return gguf.empty() ? std::string() : fmt::format("{}.{}", kind_, gguf);
    }
    const std::vector<std::string_view>& all = paths(word);
    for (const std::string_view path : all) {
        const Json* value = at_path(checkpoint_.config(), path);
        if (value != nullptr && !value->is_null()) return std::string(path);
    }
    return all.empty() ? std::string() : std::string(all.back());
}

std::string Hyperparameters::spell(std::string_view word) const {
    return fmt::format("{} '{}'", checkpoint_.dialect() == Dialect::gguf ? "metadata key" : "the key", key(word));
}

const Json* Hyperparameters::find(std::string_view word) const {
    bool stated = false;
    for (const std::string_view path : paths(word)) {
        const Json* value = at_path(checkpoint_.config(), path);
        if (value != nullptr && !value->is_null()) return value;
        stated = stated || value != nullptr;
    }
    if (stated) return nullptr;
    for (const ClassDefault& one : kClassDefaults) {
        if (one.model_type != kind_ || one.word != word) continue;
        static const std::vector<Json> values = [] {
            std::vector<Json> list;
            for (const ClassDefault& each : kClassDefaults) list.push_back(value_of(each));
            return list;
        }();
        return &values[static_cast<size_t>(&one - kClassDefaults)];
    }
    return nullptr;
}

bool Hyperparameters::has(std::string_view word) const {
    if (checkpoint_.dialect() != Dialect::gguf) return find(word) != nullptr;
    const std::string name = key(word);
    return !name.empty() && checkpoint_.metadata().has(name);
}

Result<void> Hyperparameters::check_spellings() const {
    if (checkpoint_.dialect() != Dialect::hugging_face) return {};
    for (const Word& word : words()) {
        const Json* first = nullptr;
        std::string_view first_path;
        for (const std::string_view path : word.hugging_face) {
            const Json* value = at_path(checkpoint_.config(), path);
            if (value == nullptr || value->is_null()) continue;
            if (first != nullptr && *first != *value) {
                return fail("{}: the key '{}' is {}, but '{}' is {}; both mean the same, so only one can be right",
                            checkpoint_.directory()->config_name(), first_path, shown(*first), path, shown(*value));
            }
            if (first == nullptr) first_path = path;
            first = value;
        }
    }
    return {};
}

std::vector<std::string> Hyperparameters::defaults_taken() const {
    std::vector<std::string> taken;
    if (checkpoint_.dialect() == Dialect::gguf) return taken;
    for (const ClassDefault& one : kClassDefaults) {
        if (one.model_type != kind_) continue;
        const std::vector<std::string_view>& all = paths(one.word);
        const bool stated = std::any_of(all.begin(), all.end(), [&](std::string_view path) {
            return at_path(checkpoint_.config(), path) != nullptr;
        });
        const Json value = value_of(one);
        const std::string note = fmt::format("{} is absent; {} is what model type {} has then", spell(one.word),
                                             value.is_boolean() ? value.dump() : fmt::format("{}", one.value), kind_);
        if (!stated && std::find(taken.begin(), taken.end(), note) == taken.end()) taken.push_back(note);
    }
    return taken;
}

Result<int64_t> Hyperparameters::integer(std::string_view word, int64_t low, int64_t high) const {
    int64_t value = 0;
    if (checkpoint_.dialect() == Dialect::gguf) {
        TRY_ASSIGN(value, checkpoint_.metadata().signed_integer(key(word)));
    } else {
        const Json* found = find(word);
        if (found == nullptr) return fail("{}: {} is missing in the config, but is needed", file(), spell(word));
        const std::optional<int64_t> number = as_integer(*found);
        if (!number) return fail("{}: {} of the config must be an integer", file(), spell(word));
        value = *number;
    }
    if (value < low || value > high)
        return fail("{}: {} is {}, but must be between {} and {}", file(), spell(word), value, low, high);
    return value;
}

Result<std::vector<int64_t>> Hyperparameters::integers(std::string_view word, int64_t low, int64_t high) const {
    std::vector<int64_t> all;
    if (checkpoint_.dialect() == Dialect::gguf) {
        TRY_ASSIGN(all, checkpoint_.metadata().integers(key(word)));
    } else {
        const Json* found = find(word);
        if (found == nullptr || !found->is_array())
            return fail("{}: {} of the config must be a list of integers", file(), spell(word));
        for (const Json& one : *found) {
            const std::optional<int64_t> number = as_integer(one);
            if (!number) return fail("{}: {} of the config must be a list of integers", file(), spell(word));
            all.push_back(*number);
        }
    }
    for (const int64_t one : all) {
        if (one < low || one > high)
            return fail("{}: {} contains {}, but must be between {} and {}", file(), spell(word), one, low, high);
    }
    return all;
}

Result<std::vector<bool>> Hyperparameters::booleans(std::string_view word) const {
    return checkpoint_.metadata().booleans(key(word));
}

Result<std::vector<int64_t>> Hyperparameters::for_each_layer(std::string_view word, size_t layers, int64_t low,
                                                             int64_t high) const {
    const MetadataValue* value =
        checkpoint_.dialect() == Dialect::gguf ? checkpoint_.metadata().find(key(word)) : nullptr;
    if (value == nullptr || !value->is_array()) {
        TRY_ASSIGN(const int64_t one, integer(word, low, high));
        return std::vector<int64_t>(layers, one);
    }
    TRY_ASSIGN(std::vector<int64_t> all, integers(word, low, high));
    if (all.size() != layers)
        return fail("{}: {} has {} numbers, but the model has {} layers", file(), spell(word), all.size(), layers);
    return all;
}

Result<std::vector<double>> Hyperparameters::numbers(std::string_view word) const {
    const Json* found = find(word);
    std::vector<double> all;
    if (found == nullptr || !found->is_array())
        return fail("{}: {} of the config must be a list of numbers", file(), spell(word));
    for (const Json& one : *found) {
        if (!one.is_number()) return fail("{}: {} of the config must be a list of numbers", file(), spell(word));
        all.push_back(one.get<double>());
    }
    return all;
}

Result<double> Hyperparameters::number(std::string_view word) const {
    if (checkpoint_.dialect() == Dialect::gguf) return checkpoint_.metadata().number(key(word));
    const Json* found = find(word);
    if (found == nullptr) return fail("{}: {} is missing in the config, but is needed", file(), spell(word));
    if (!found->is_number()) return fail("{}: {} of the config must be a number", file(), spell(word));
    return found->get<double>();
}

Result<double> Hyperparameters::positive(std::string_view word) const {
    TRY_ASSIGN(const double value, number(word));
    if (!(value > 0) || !std::isfinite(value))
        return fail("{}: {} is {}, but must be a positive number", file(), spell(word), value);
    using Binary32 = std::numeric_limits<float>;
    if (value > static_cast<double>(Binary32::max()) || value < static_cast<double>(Binary32::min())) {
        return fail("{}: {} is {}, but must be a positive number that binary32 holds ({:.3g} to {:.3g})", file(),
                    spell(word), value, Binary32::min(), Binary32::max());
    }
    return value;
}

Result<double> Hyperparameters::positive_or(std::string_view word, double otherwise) const {
    if (!has(word)) return otherwise;
    return positive(word);
}

Result<std::string> Hyperparameters::text(std::string_view word) const {
    if (checkpoint_.dialect() == Dialect::gguf) {
        TRY_ASSIGN(const std::string_view value, checkpoint_.metadata().string(key(word)));
        return std::string(value);
    }
    const Json* found = find(word);
    if (found == nullptr || !found->is_string())
        return fail("{}: {} of the config must be a text", file(), spell(word));
    return found->get<std::string>();
}

Result<std::vector<std::string>> Hyperparameters::texts(std::string_view word) const {
    const Json* found = find(word);
    std::vector<std::string> all;
    if (found == nullptr || !found->is_array())
        return fail("{}: {} of the config must be a list of texts", file(), spell(word));
    for (const Json& one : *found) {
        if (!one.is_string()) return fail("{}: {} of the config must be a list of texts", file(), spell(word));
        all.push_back(one.get<std::string>());
    }
    return all;
}

Result<bool> Hyperparameters::boolean_or(std::string_view word, bool otherwise) const {
    if (!has(word)) return otherwise;
    if (checkpoint_.dialect() == Dialect::gguf) return checkpoint_.metadata().boolean(key(word));
    const Json* found = find(word);
    if (!found->is_boolean()) return fail("{}: {} of the config must be true or false", file(), spell(word));
    return found->get<bool>();
}

bool Hyperparameters::is_list(std::string_view word) const {
    if (checkpoint_.dialect() != Dialect::gguf) return find(word) != nullptr && find(word)->is_array();
    const MetadataValue* value = checkpoint_.metadata().find(key(word));
    return value != nullptr && value->is_array();
}

Result<bool> Hyperparameters::boolean_at_top(std::string_view word, bool otherwise) const {
    if (checkpoint_.directory() == nullptr) return otherwise;
    for (const std::string_view path : paths(word)) {
        const Json* found = at_path(checkpoint_.directory()->config(), path);
        if (found == nullptr || found->is_null()) continue;
        if (!found->is_boolean()) return fail("{}: the key '{}' of the config must be true or false", file(), path);
        return found->get<bool>();
    }
    return otherwise;
}

}  // namespace invar
