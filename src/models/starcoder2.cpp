// Architecture "starcoder2": StarCoder 2.
// Norms are LayerNorms with biases, every projection has a bias if the file has it, and the feed-forward part is
// gelu_tanh of one projection. GGUF files keep query and key rows as they are, and have no key for the window that
// config.json may state.
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/read_config.h"
#include "models/tensor_names.h"

namespace invar {
namespace {

// config.json says whether projections have biases; the tensors must agree.
Result<void> check_biases(const Hyperparameters& keys) {
    if (is_gguf(keys)) return {};
    TRY_ASSIGN(const bool stated, keys.boolean_or("projection biases", true));
    const std::string tensor = TensorNames(keys.checkpoint()).name(0, "attn_q.bias", "self_attn.q_proj.bias");
    const bool there = keys.checkpoint().find(tensor) != nullptr;
    if (there == stated) return {};
    return fail("{}: {} is {}, but tensor '{}' is {}; config.json and the weights must come from one model",
                keys.file(), keys.spell("projection biases"), stated, tensor, there ? "there" : "missing");
}

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    TRY_ASSIGN(ModelConfig config, read_dense_config(checkpoint, {.architecture = "starcoder2",
                                                                  .activation = "gelu_pytorch_tanh",
                                                                  .epsilon = "layer norm epsilon",
                                                                  .computes = {"use_bias"},
                                                                  .layer_norms = true}));
    TRY(check_biases(Hyperparameters(checkpoint)));
    for (LayerSpec& layer : config.layers) {
        auto& dense = std::get<DenseGeometry>(layer.ffn);
        dense.activation = {.kind = Activation::gelu_tanh};
        dense.gated = false;
    }
    return config;
}

DecoderTraits traits() {
    DecoderTraits traits;
    traits.dense = ungated_dense("mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias");
    return traits;
}

}  // namespace

const Architecture kStarcoder2Architecture{.name = "starcoder2",
                                           .summary = "StarCoder 2",
                                           .model_types = {"starcoder2"},
                                           .read_config = read_config,
                                           .declare = declare_with<traits>,
                                           .build = build_with<traits>};

}  // namespace invar
