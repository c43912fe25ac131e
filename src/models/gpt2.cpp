// Architecture "gpt2": GPT-2.
// A learned vector for each position is added to the embedding, and nothing is rotated, so that the context ends with
// the table of positions. Queries, keys and values are one projection; Hugging Face's files hold every matrix of a
// layer by column, and masks as tensors, which are constants. GELU is the one with tanh.
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/gpt_config.h"

namespace invar {
namespace {

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    const Hyperparameters keys(checkpoint);
    TRY_ASSIGN(
        ModelConfig config,
        read_model_config(
            keys, {.architecture = "gpt2", .activation = "", .epsilon = "layer norm epsilon", .layer_norms = true}));
    config.position_rows = config.context_length;
    TRY(read_gpt_layers(keys, config, {.activation = Activation::gelu_tanh}));
    for (const char* mask : {"*h.*.attn.bias", "*h.*.attn.masked_bias"})
        config.tensors_unused.push_back({mask, "the mask of attention, which is computed"});
    return config;
}

DecoderTraits traits() {
    DecoderTraits traits{
        .attention_biases = true, .output_biases = true, .other_biases = true, .stored_by_column = true};
    traits.norms.mixer = {{"attention_norm", "attn_norm.weight", "ln_1.weight"},
                          {"attention_norm_bias", "attn_norm.bias", "ln_1.bias"}};
    traits.norms.ffn = {{"ffn_norm", "ffn_norm.weight", "ln_2.weight"},
                        {"ffn_norm_bias", "ffn_norm.bias", "ln_2.bias"}};
    traits.norms.output = {{"output_norm", "output_norm.weight", "norm.weight"},
                           {"output_norm_bias", "output_norm.bias", "ln_f.bias"}};
    traits.attention.fused = "attn.c_attn.weight";
    traits.attention.fused_bias = "attn.c_attn.bias";
    traits.attention.output = "attn.c_proj.weight";
    traits.attention.output_bias = "attn.c_proj.bias";
    traits.dense = ungated_dense("mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias");
    return traits;
}

}  // namespace

const Architecture kGpt2Architecture{.name = "gpt2",
                                     .summary = "GPT-2",
                                     .model_types = {"gpt2"},
                                     .read_config = read_config,
                                     .declare = declare_with<traits>,
                                     .build = build_with<traits>};

}  // namespace invar
