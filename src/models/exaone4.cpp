// Architecture "exaone4": LG's EXAONE 4.
// A branch has a norm behind it and none in front; each head's query and key has a norm before rope. In models with
// windows every fourth layer sees all positions and does not rotate them; in models without, every layer does.
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/gemma_config.h"
#include "models/read_config.h"
#include "models/window_pattern.h"

namespace invar {
namespace {

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    TRY_ASSIGN(ModelConfig config, read_dense_config(checkpoint, {.architecture = "exaone4"}));
    const Hyperparameters keys(checkpoint);
    TRY_ASSIGN(const std::vector<bool> slides, read_window_pattern(keys, config, 4));
    for (size_t i = 0; i < slides.size(); ++i)
        if (!slides[i]) std::get<AttentionGeometry>(config.layers[i].mixer).rope = -1;
    return config;
}

DecoderTraits traits() {
    DecoderTraits traits{.head_norms = true, .norms = gemma_norms()};
    traits.norms.mixer = {};
    traits.norms.ffn = {};
    return traits;
}

}  // namespace

const Architecture kExaone4Architecture{.name = "exaone4",
                                        .summary = "LG's EXAONE 4",
                                        .model_types = {"exaone4"},
                                        .read_config = read_config,
                                        .declare = declare_with<traits>,
                                        .build = build_with<traits>};

}  // namespace invar
