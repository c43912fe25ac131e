// The table of GGUF's keys of an architecture with the values that change nothing, and the check by it: see
// gguf_keys.h. The names are those of the Python package gguf and of llama.cpp's older files.
#include "models/gguf_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "files/printable.h"
#include "models/hyperparameter_tables.h"

namespace invar {
namespace {

// The values with which a key changes nothing where nothing reads it.
enum class Neutral : uint8_t {
    any,           // the shapes of tensors prove it, another key makes it count, or it is for other programs
    none,          // it always says something
    zero,          // the number 0, or a list of such
    one,           // 0 and 1, which both stand for no factor, one step or one group
    no,            // false
    yes,           // true
    text_none,     // the text "none"
    base_of_rope,  // the number of rope.freq_base
};

struct KnownKey {
    std::string_view key;  // behind "<architecture>."
    Neutral neutral;
};

constexpr KnownKey kKnownKeys[] = {
    {"vocab_size", Neutral::any},
    {"context_length", Neutral::any},
    {"embedding_length", Neutral::any},
    {"embedding_length_out", Neutral::any},
    {"block_count", Neutral::any},
    {"feed_forward_length", Neutral::any},
    {"tensor_data_layout", Neutral::any},
    {"pooling_type", Neutral::any},
    {"classifier.pooling_type", Neutral::any},
    {"classifier.output_labels", Neutral::any},
    {"dense_2_feat_in", Neutral::any},
    {"dense_2_feat_out", Neutral::any},
    {"dense_3_feat_in", Neutral::any},
    {"dense_3_feat_out", Neutral::any},
    // The embedding, the residual stream and the logits
    {"embedding_scale", Neutral::one},
    {"residual_scale", Neutral::one},
    {"logit_scale", Neutral::one},
    {"final_logit_softcapping", Neutral::zero},
    {"use_parallel_residual", Neutral::no},
    {"swin_norm", Neutral::no},
    {"rescale_every_n_layers", Neutral::zero},
    {"embedding_length_per_layer_input", Neutral::zero},
    {"nextn_predict_layers", Neutral::zero},
    {"n_deepstack_layers", Neutral::zero},
    {"activation_sparsity_scale", Neutral::none},
    {"altup.active_idx", Neutral::none},
    {"altup.num_inputs", Neutral::none},
    {"decoder_block_count", Neutral::none},
    // Attention
    {"attention.head_count", Neutral::any},
    {"attention.head_count_kv", Neutral::any},
    {"attention.key_length", Neutral::any},
    {"attention.value_length", Neutral::any},
    {"attention.key_length_mla", Neutral::any},
    {"attention.value_length_mla", Neutral::any},
    {"attention.key_length_swa", Neutral::any},
    {"attention.value_length_swa", Neutral::any},
    {"attention.layer_norm_epsilon", Neutral::any},
    {"attention.layer_norm_rms_epsilon", Neutral::any},
    {"attention.group_norm_epsilon", Neutral::none},
    {"attention.group_norm_groups", Neutral::none},
    {"attention.causal", Neutral::yes},
    {"attention.scale", Neutral::zero},
    {"attention.output_scale", Neutral::one},
    {"attention.max_alibi_bias", Neutral::zero},
    {"attention.clamp_kqv", Neutral::zero},
    {"attention.temperature_scale", Neutral::zero},
    {"attention.temperature_length", Neutral::zero},
    {"attention.sliding_window", Neutral::zero},
    {"attention.sliding_window_pattern", Neutral::none},
    {"attention.shared_kv_layers", Neutral::zero},
    {"attention.relative_buckets_count", Neutral::zero},
    {"attention.q_lora_rank", Neutral::zero},
    {"attention.kv_lora_rank", Neutral::zero},
    {"attention.recurrent_layers", Neutral::any},
    {"full_attention_interval", Neutral::any},
    {"attn_logit_softcapping", Neutral::zero},
    // Rope
    {"rope.dimension_count", Neutral::any},
    {"rope.dimension_count_swa", Neutral::zero},
    {"rope.dimension_sections", Neutral::any},
    {"rope.freq_base", Neutral::any},
    {"rope.freq_base_swa", Neutral::base_of_rope},
    {"rope.scale_linear", Neutral::one},
    {"rope.scaling.type", Neutral::text_none},
    {"rope.scaling.factor", Neutral::one},
    {"rope.scaling.alpha", Neutral::zero},
    {"rope.scaling.attn_factor", Neutral::one},
    {"rope.scaling.yarn_attn_factor", Neutral::one},
    {"rope.scaling.original_context_length", Neutral::any},
    {"rope.scaling.finetuned", Neutral::any},
    {"rope.scaling.yarn_log_multiplier", Neutral::any},  // these four: of YaRN, whose reader asks for them
    {"rope.scaling.yarn_ext_factor", Neutral::any},
    {"rope.scaling.yarn_beta_fast", Neutral::any},
    {"rope.scaling.yarn_beta_slow", Neutral::any},
    // The feed-forward part and the mixture
    {"hidden_activation", Neutral::none},
    {"swiglu_clamp_exp", Neutral::zero},
    {"swiglu_clamp_shexp", Neutral::zero},
    {"router_logit_softcapping", Neutral::zero},
    {"expert_count", Neutral::zero},
    {"expert_used_count", Neutral::any},  // these five count beside expert_count, whose reader asks for them
    {"expert_feed_forward_length", Neutral::any},
    {"expert_shared_count", Neutral::any},
    {"expert_shared_feed_forward_length", Neutral::any},
    {"expert_group_used_count", Neutral::any},
    {"expert_chunk_feed_forward_length", Neutral::none},
    {"expert_group_count", Neutral::one},
    {"expert_group_scale", Neutral::one},
    {"experts_per_group", Neutral::zero},
    {"expert_gating_func", Neutral::one},
    {"expert_weights_norm", Neutral::no},
    {"expert_weights_scale", Neutral::one},
    {"leading_dense_block_count", Neutral::zero},
    {"interleave_moe_layer_step", Neutral::one},
    {"moe_every_n_layers", Neutral::one},
    {"moe_latent_size", Neutral::zero},
    // Recurrences
    {"ssm.conv_kernel", Neutral::any},
    {"ssm.inner_size", Neutral::any},
    {"ssm.state_size", Neutral::any},
    {"ssm.time_step_rank", Neutral::any},
    {"ssm.group_count", Neutral::any},
    {"ssm.dt_b_c_rms", Neutral::no},
    {"shortconv.l_cache", Neutral::any},
};

bool is_number(const MetadataValue& value, double number) { return value.as_f64() == number; }

// Of one value, or of an element of a list.
bool is_neutral(const MetadataValue& value, Neutral neutral, const MetadataValue* base) {
    switch (neutral) {
        case Neutral::any:
            return true;
        case Neutral::none:
            return false;
        case Neutral::zero:
            return is_number(value, 0);
        case Neutral::one:
            return is_number(value, 0) || is_number(value, 1);
        case Neutral::no:
            return value.as_bool() == false;
        case Neutral::yes:
            return value.as_bool() == true;
        case Neutral::text_none:
            return value.as_string() == "none";
        case Neutral::base_of_rope:
            return base != nullptr && value.as_f64().has_value() && value.as_f64() == base->as_f64();
    }
    return false;
}

bool changes_nothing(const MetadataValue& value, Neutral neutral, const MetadataValue* base) {
    if (!value.is_array()) return is_neutral(value, neutral, base);
    bool all = neutral != Neutral::none;
    value.for_each([&](const MetadataValue& one) { all = all && is_neutral(one, neutral, base); });
    return all;
}

std::string shown(const MetadataValue& value) {
    if (const auto truth = value.as_bool()) return *truth ? "true" : "false";
    if (const auto number = value.as_f64()) return fmt::format("{}", *number);
    if (const auto text = value.as_string()) return fmt::format("'{}'", printable(*text));
    return fmt::format("an {}", value.type_name());
}

bool is_asked(std::string_view key, const AskedWords& asked) {
    return std::ranges::any_of(words(), [&](const Word& word) { return word.gguf == key && asked.has(word.ours); });
}

// Whether no rope reads a key: the model has none, or the key is of a scaling that the file does not have.
bool is_idle(std::string_view key, const ModelConfig& config, const MetadataValue* scaling) {
    if (!key.starts_with("rope.")) return false;
    if (config.ropes.empty()) return true;
    return key == "rope.scaling.factor" && scaling != nullptr && scaling->as_string() == "none";
}

}  // namespace

Result<void> check_gguf_keys(const Checkpoint& checkpoint, const AskedWords& asked, ModelConfig& config) {
    TRY_ASSIGN(const std::string architecture, Hyperparameters::architecture(checkpoint));
    const std::string prefix = architecture + ".";
    const Metadata& metadata = checkpoint.metadata();
    const MetadataValue* base = metadata.find(prefix + "rope.freq_base");
    const MetadataValue* scaling = metadata.find(prefix + "rope.scaling.type");
    for (const MetadataEntry& entry : metadata.entries()) {
        if (!entry.key.starts_with(prefix)) continue;
        const std::string_view key = entry.key.substr(prefix.size());
        if (is_asked(key, asked)) continue;
        const auto* known = std::ranges::find(kKnownKeys, key, &KnownKey::key);
        if (known == std::end(kKnownKeys)) {
            config.notes.push_back(
                fmt::format("metadata key '{}' is not known here, so nothing reads it", printable(entry.key)));
            continue;
        }
        if (is_idle(key, config, scaling) || changes_nothing(entry.value, known->neutral, base)) continue;
        return fail(ErrorKind::unsupported,
                    "{}: metadata key '{}' is {}, which changes what the model computes, but architecture {} does not "
                    "compute it and it would be left out; such a model is not supported",
                    checkpoint.name(), printable(entry.key), shown(entry.value), architecture);
    }
    return {};
}

}  // namespace invar
