// Architecture "cohere2": Cohere's Command R7B and Command A.
// Attention and the feed-forward part read one LayerNorm without a bias of the layer's input, and both are added to the
// residual stream. Every fourth layer sees all positions and does not rotate them; the others have a window and turn
// pairs of neighbours, in both containers. The logits are multiplied by a number, rounded to binary32 as GGUF holds it.
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/read_config.h"
#include "models/window_pattern.h"

namespace invar {
namespace {

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    TRY_ASSIGN(ModelConfig config, read_dense_config(checkpoint, {.architecture = "cohere2",
                                                                  .epsilon = "layer norm epsilon",
                                                                  .computes = {"logit_scale"},
                                                                  .rope = {.pairing = RopePairing::adjacent},
                                                                  .layer_norms = true}));
    const Hyperparameters keys(checkpoint);
    TRY_ASSIGN(const double scale, keys.positive("logit scale"));
    config.logit_scale = static_cast<float>(scale);
    config.parallel = true;
    TRY_ASSIGN(const std::vector<bool> slides, read_window_pattern(keys, config, 4));
    if (slides.empty()) {
        return fail("{}: {} is missing, but architecture cohere2 has layers with a window", keys.file(),
                    keys.spell("window"));
    }
    for (size_t i = 0; i < slides.size(); ++i)
        if (!slides[i]) std::get<AttentionGeometry>(config.layers[i].mixer).rope = -1;
    return config;
}

DecoderTraits traits() {
    DecoderTraits traits;
    traits.norms.ffn = {};
    return traits;
}

}  // namespace

const Architecture kCohere2Architecture{.name = "cohere2",
                                        .summary = "Cohere's Command R7B and Command A",
                                        .model_types = {"cohere2"},
                                        .read_config = read_config,
                                        .declare = declare_with<traits>,
                                        .build = build_with<traits>};

}  // namespace invar
