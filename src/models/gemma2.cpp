// Architecture "gemma2": Gemma 2, dense.
// Norms stand in front of and behind each branch, and Hugging Face's files hold their weights less one. Embeddings are
// multiplied by the root of the width, in binary32 (transformers rounds it to the type of the weights). Every other
// layer has a window, the first one does. Scores and logits have soft caps; the feed-forward part has GELU (tanh).
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/gemma_config.h"

namespace invar {
namespace {

Result<void> read_layers(const Hyperparameters& keys, ModelConfig& config) {
    return read_gemma_layers(
        keys, config, {.architecture = "gemma2", .period = 2, .caps = true, .local_rope = false, .largest_layers = 46});
}

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    return read_decoder_config(checkpoint, {.architecture = "gemma2",
                                            .activation = "gelu_pytorch_tanh",
                                            .computes = gemma_keys(),
                                            .read_layers = read_layers});
}

DecoderTraits traits() { return {.head_norms = false, .norms_less_one = true, .norms = gemma_norms()}; }

}  // namespace

const Architecture kGemma2Architecture{.name = "gemma2",
                                       .summary = "Gemma 2",
                                       .model_types = {"gemma2"},
                                       .read_config = read_config,
                                       .declare = declare_with<traits>,
                                       .build = build_with<traits>};

}  // namespace invar
