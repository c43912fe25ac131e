// Architecture "falcon": Falcon 7B, 40B, 180B and Falcon 2.
// Attention and the feed-forward part both read the layer's input, through one norm or through one each. One key head
// serves all query heads, or each serves a group of them; Hugging Face's files hold a key head and its value behind the
// queries that it serves. Projections have biases in all places or in none. GELU is the exact one. Models with ALiBi in
// place of rope, and those whose feed-forward part follows attention, are refused.
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/gpt_config.h"
#include "models/tensor_names.h"

namespace invar {
namespace {

// In the config, KV heads count only if the model is of the new kind.
Result<int64_t> read_kv_heads(const Hyperparameters& keys) {
    TRY_ASSIGN(const int64_t heads, keys.integer("heads", 1, kMaximumHeads));
    if (is_gguf(keys))
        return keys.has("KV heads") ? keys.integer("KV heads", 1, kMaximumHeads) : Result<int64_t>(heads);
    TRY_ASSIGN(const bool groups, keys.boolean_or("KV heads in groups", false));
    TRY_ASSIGN(const bool one, keys.boolean_or("one KV head", true));
    if (groups) return keys.has("KV heads") ? keys.integer("KV heads", 1, kMaximumHeads) : Result<int64_t>(heads);
    return one ? 1 : heads;
}

// Whether attention has a norm apart from that of the feed-forward part. GGUF files show it by their tensors.
Result<bool> has_two_norms(const Hyperparameters& keys) {
    if (is_gguf(keys)) return keys.checkpoint().find("blk.0.attn_norm_2.weight") != nullptr;
    TRY_ASSIGN(const bool groups, keys.boolean_or("KV heads in groups", false));
    if (!groups || !keys.has("norms of a layer")) return groups;
    TRY_ASSIGN(const int64_t norms, keys.integer("norms of a layer", 1, 2));
    return norms == 2;
}

// The config says that all projections have biases or that none has; the tensors must agree.
Result<void> check_biases(const Hyperparameters& keys, const ModelConfig& config) {
    if (is_gguf(keys)) return {};
    TRY_ASSIGN(const bool biases, keys.boolean_or("all biases", false));
    const TensorNames names(keys.checkpoint());
    for (int layer = 0; layer < static_cast<int>(config.layers.size()); ++layer) {
        for (const char* bias : {"self_attention.query_key_value.bias", "self_attention.dense.bias",
                                 "mlp.dense_h_to_4h.bias", "mlp.dense_4h_to_h.bias"}) {
            const std::string tensor = names.name(layer, "", bias);
            if ((keys.checkpoint().find(tensor) != nullptr) == biases) continue;
            return fail("{}: {} is {}, but tensor '{}' is {}; config.json and the weights must come from one model",
                        keys.file(), keys.spell("all biases"), biases, tensor, biases ? "missing" : "there");
        }
    }
    return {};
}

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    const Hyperparameters keys(checkpoint);
    TRY_ASSIGN(ModelConfig config, read_model_config(keys, {.architecture = "falcon",
                                                            .activation = "",
                                                            .epsilon = "layer norm epsilon",
                                                            .computes = {"parallel_attn"},
                                                            .layer_norms = true}));
    TRY_ASSIGN(config.parallel, keys.boolean_or("branches of one input", true));
    TRY_ASSIGN(const bool groups, keys.boolean_or("KV heads in groups", false));
    if (!config.parallel && !groups) {  // the new kind is parallel whatever the key says
        return fail(ErrorKind::unsupported,
                    "{}: {} is false, but only models whose branches read one input are supported for this "
                    "architecture",
                    keys.file(), keys.spell("branches of one input"));
    }
    config.parallel = true;
    TRY_ASSIGN(const int64_t kv_heads, read_kv_heads(keys));
    TRY(read_gpt_layers(
        keys, config, {.activation = Activation::gelu, .kv_heads = kv_heads, .rope = RopeOptions{.gguf_base = 10000}}));
    TRY(has_two_norms(keys));
    TRY(check_biases(keys, config));
    return config;
}

DecoderTraits traits(bool two_norms) {
    DecoderTraits traits{.fused_by_group = true};
    traits.norms.ffn = {};
    if (two_norms) {
        traits.norms.mixer = {{"attention_norm", "attn_norm_2.weight", "ln_attn.weight"},
                              {"attention_norm_bias", "attn_norm_2.bias", "ln_attn.bias"}};
        traits.norms.ffn = {{"ffn_norm", "attn_norm.weight", "ln_mlp.weight"},
                            {"ffn_norm_bias", "attn_norm.bias", "ln_mlp.bias"}};
    }
    traits.norms.output = {{"output_norm", "output_norm.weight", "norm.weight"},
                           {"output_norm_bias", "output_norm.bias", "ln_f.bias"}};
    traits.attention.fused = "self_attention.query_key_value.weight";
    traits.attention.fused_bias = "self_attention.query_key_value.bias";
    traits.attention.output = "self_attention.dense.weight";
    traits.attention.output_bias = "self_attention.dense.bias";
    traits.dense = ungated_dense("mlp.dense_h_to_4h.weight", "mlp.dense_h_to_4h.bias", "mlp.dense_4h_to_h.weight",
                                 "mlp.dense_4h_to_h.bias");
    return traits;
}

std::vector<WantedWeight> declare(const ModelConfig& config, const Checkpoint& checkpoint) {
    return declare_decoder(config, checkpoint, traits(has_two_norms(Hyperparameters(checkpoint)).value_or(false)));
}

// The weights that are there say whether there are two norms.
Result<std::unique_ptr<Model>> build(const ModelConfig& config, const WeightSource& weights) {
    return build_decoder(config, weights, traits(weights.has({0, "ffn_norm"})));
}

}  // namespace

const Architecture kFalconArchitecture{.name = "falcon",
                                       .summary = "Falcon and Falcon 2",
                                       .model_types = {"falcon"},
                                       .read_config = read_config,
                                       .declare = declare,
                                       .build = build};

}  // namespace invar
