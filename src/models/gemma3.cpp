// Architecture "gemma3": Gemma 3, text.
// As Gemma 2 with norms of each head's query and key in place of the soft cap of scores. Five of six layers have a
// window; they turn by a rope of their own, which is never scaled, while the rope of the others may be (linearly).
// GGUF files say nothing about the pattern, and old ones not the base of the windows' rope.
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/gemma_config.h"

namespace invar {
namespace {

Result<void> read_layers(const Hyperparameters& keys, ModelConfig& config) {
    return read_gemma_layers(
        keys, config, {.architecture = "gemma3", .period = 6, .caps = false, .local_rope = true, .largest_layers = 62});
}

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    return read_decoder_config(checkpoint, {.architecture = "gemma3",
                                            .activation = "gelu_pytorch_tanh",
                                            .computes = gemma_keys(),
                                            .read_layers = read_layers});
}

DecoderTraits traits() { return {.head_norms = true, .norms_less_one = true, .norms = gemma_norms()}; }

std::vector<WantedWeight> declare(const ModelConfig& config, const Checkpoint& checkpoint) {
    return declare_decoder(config, checkpoint, traits());
}

Result<std::unique_ptr<Model>> build(const ModelConfig& config, const WeightSource& weights) {
    return build_decoder(config, weights, traits());
}

}  // namespace

const Architecture kGemma3Architecture{.name = "gemma3",
                                       .summary = "Gemma 3, text",
                                       .model_types = {"gemma3_text"},
                                       .read_config = read_config,
                                       .declare = declare,
                                       .build = build};

}  // namespace invar
