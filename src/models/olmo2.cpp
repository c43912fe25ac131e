// Architecture "olmo2": OLMo 2 and OLMo 3, which GGUF files give the same name.
// A branch has a norm behind it and none in front. Queries and keys are normalised over all heads together, before
// rope. In OLMo 3 three of four layers have a window; those rotate positions without YaRN, which the others have.
// YaRN's attention factor is that of the whole (config.json's attention_factor, GGUF's yarn_attn_factor), rounded to
// binary32 as GGUF files hold it.
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/gemma_config.h"
#include "models/read_config.h"
#include "models/window_pattern.h"

namespace invar {
namespace {

// OLMo 2 has no windows, whatever keys its config.json has.
Result<void> read_windows(const Hyperparameters& keys, ModelConfig& config) {
    TRY_ASSIGN(const std::string kind, Hyperparameters::architecture(keys.checkpoint()));
    if (!is_gguf(keys) && kind == "olmo2") {
        for (LayerSpec& layer : config.layers) std::get<AttentionGeometry>(layer.mixer).window = 0;
        return {};
    }
    TRY_ASSIGN(const std::vector<bool> slides, read_window_pattern(keys, config, 4));
    const RopeSpec rope = config.ropes.front();
    if (slides.empty() || rope.scaling == RopeSpec::Scaling::none) return {};
    TRY_ASSIGN(const RopeSpec local, read_gemma_local_rope(keys, rope.head_width, rope.base));
    config.ropes.push_back(local);
    for (size_t i = 0; i < slides.size(); ++i)
        if (slides[i]) std::get<AttentionGeometry>(config.layers[i].mixer).rope = 1;
    return {};
}

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    TRY_ASSIGN(ModelConfig config, read_dense_config(checkpoint, {.architecture = "olmo2",
                                                                  .computes = {"rope_parameters.full_attention",
                                                                               "rope_parameters.sliding_attention"}}));
    const Hyperparameters keys(checkpoint);
    RopeSpec& rope = config.ropes.front();
    const std::string_view word = is_gguf(keys) ? "yarn attention" : "yarn multiplier";
    if (rope.scaling == RopeSpec::Scaling::yarn && keys.has(word)) {
        TRY_ASSIGN(const double whole, keys.positive(word));
        rope.attn_factor = static_cast<double>(static_cast<float>(whole)) / yarn_attention(rope.factor, 1.0);
    }
    TRY(read_windows(keys, config));
    return config;
}

DecoderTraits traits() {
    DecoderTraits traits{.whole_norms = true, .norms = gemma_norms()};
    traits.norms.mixer = {};
    traits.norms.ffn = {};
    return traits;
}

}  // namespace

const Architecture kOlmo2Architecture{.name = "olmo2",
                                      .summary = "OLMo 2 and OLMo 3",
                                      .model_types = {"olmo2", "olmo3"},
                                      .read_config = read_config,
                                      .declare = declare_with<traits>,
                                      .build = build_with<traits>};

}  // namespace invar
