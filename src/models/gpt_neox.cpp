// Architecture "gptneox": GPT-NeoX and Pythia.
// Attention and the feed-forward part have norms of their own; in most models both read the layer's input, else one
// follows the other. Hugging Face's files hold the query, the key and the value of a head as neighbours. Rope turns the
// first quarter of a head, or as the config says. GELU is the exact one, unless the config asks for tanh.
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/gpt_config.h"

namespace invar {
namespace {

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    const Hyperparameters keys(checkpoint);
    TRY_ASSIGN(ModelConfig config,
               read_model_config(keys, {.architecture = "gptneox",
                                        .activation = "",
                                        .epsilon = "layer norm epsilon",
                                        .computes = {"use_parallel_residual", "rotary_pct", "partial_rotary_factor",
                                                     "rope_parameters.partial_rotary_factor"},
                                        .layer_norms = true}));
    if (is_gguf(keys) && !keys.has("parallel branches"))
        return fail("{}: {} is missing, but is needed", keys.file(), keys.spell("parallel branches"));
    TRY_ASSIGN(config.parallel, keys.boolean_or("parallel branches", true));
    TRY_ASSIGN(const bool biases, keys.boolean_or("attention biases", true));
    if (!biases) {
        return fail(ErrorKind::unsupported, "{}: {} is false, but architecture gptneox is supported with biases only",
                    keys.file(), keys.spell("attention biases"));
    }
    TRY(read_gpt_layers(keys, config, {.activation = Activation::gelu, .rope = RopeOptions{.gguf_base = 10000}}));
    for (const char* mask : {"*.attention.bias", "*.attention.masked_bias"})
        config.tensors_unused.push_back({mask, "the mask of attention, which is computed"});
    return config;
}

DecoderTraits traits() {
    DecoderTraits traits{.attention_biases = true, .output_biases = true, .other_biases = true, .fused_by_group = true};
    traits.norms.output = {{"output_norm", "output_norm.weight", "norm.weight"},
                           {"output_norm_bias", "output_norm.bias", "final_layer_norm.bias"}};
    traits.attention.fused = "attention.query_key_value.weight";
    traits.attention.fused_bias = "attention.query_key_value.bias";
    traits.attention.output = "attention.dense.weight";
    traits.attention.output_bias = "attention.dense.bias";
    traits.dense = ungated_dense("mlp.dense_h_to_4h.weight", "mlp.dense_h_to_4h.bias", "mlp.dense_4h_to_h.weight",
                                 "mlp.dense_4h_to_h.bias");
    return traits;
}

}  // namespace

const Architecture kGptNeoxArchitecture{.name = "gptneox",
                                        .summary = "GPT-NeoX and Pythia",
                                        .model_types = {"gpt_neox"},
                                        .read_config = read_config,
                                        .declare = declare_with<traits>,
                                        .build = build_with<traits>};

}  // namespace invar
