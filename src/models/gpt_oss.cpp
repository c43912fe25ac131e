// Architecture "gpt-oss": OpenAI's gpt-oss-20b and gpt-oss-120b.
// Layers alternate between a window and full attention, beginning with a window. A learned logit of each head, the
// sink, takes part in every softmax. All projections of attention, the router and the experts have biases; that of an
// expert is added before the expert's weight multiplies its result. The router ranks by logits and weighs by the
// softmax of the chosen ones. Experts use a clamped SwiGLU. YaRN's boundaries are not rounded to whole pairs.
// Hugging Face's files hold gate and up of all experts in one tensor, whose even rows are the gate: as MXFP4 codes by
// row, as plain numbers by column. GGUF has no keys for the pattern of windows, the clamp and YaRN's boundaries, so
// those of the published code are taken and noted.
#include "files/printable.h"
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/read_config.h"

namespace invar {
namespace {

constexpr double kLimit = 7.0, kAlpha = 1.702;

Result<ActivationSpec> read_activation(const Hyperparameters& keys, ModelConfig& config) {
    for (const char* word : {"activation limit", "activation alpha"}) {
        if (keys.has(word)) continue;
        config.notes.push_back(fmt::format("the experts' {} is not in the file; {} of the published code is taken",
                                           word, std::string_view(word) == "activation limit" ? kLimit : kAlpha));
    }
    TRY_ASSIGN(const double limit, keys.positive_or("activation limit", kLimit));
    TRY_ASSIGN(const double alpha, keys.positive_or("activation alpha", kAlpha));
    return ActivationSpec{Activation::clamped_swiglu, static_cast<float>(alpha), static_cast<float>(limit)};
}

// Without a list of kinds the even layers have the window.
Result<void> read_windows(const Hyperparameters& keys, ModelConfig& config) {
    if (keys.has("layer kinds")) return {};
    TRY_ASSIGN(const int64_t window, keys.integer("window", 1, int64_t{1} << 30));
    for (size_t i = 0; i < config.layers.size(); ++i)
        std::get<AttentionGeometry>(config.layers[i].mixer).window = i % 2 == 0 ? static_cast<int>(window) : 0;
    config.notes.emplace_back("the file does not say which layers have the window; in gpt-oss the even ones do");
    return {};
}

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    TRY_ASSIGN(ModelConfig config, read_decoder_config(checkpoint, {.architecture = "gpt-oss",
                                                                    .computes = {"swiglu_limit", "swiglu_alpha"}}));
    const Hyperparameters keys(checkpoint);
    TRY(check_router_law(keys, {3}));
    TRY(check_renormalised(keys));
    RopeSpec& rope = config.ropes.front();
    if (rope.scaling != RopeSpec::Scaling::yarn) {
        return fail(ErrorKind::unsupported, "{}: {} is not 'yarn', which gpt-oss has; such a model is not supported",
                    keys.file(), keys.spell("rope scaling"));
    }
    if (is_gguf(keys)) {
        rope.whole_boundaries = false;
        config.notes.emplace_back(
            "YaRN's boundaries are not rounded to whole pairs, as gpt-oss was trained; GGUF has "
            "no key for it");
    }
    TRY(read_windows(keys, config));
    TRY_ASSIGN(const ActivationSpec activation, read_activation(keys, config));
    for (LayerSpec& layer : config.layers) {
        std::get<AttentionGeometry>(layer.mixer).sinks = true;
        auto* mixture = std::get_if<MixtureGeometry>(&layer.ffn);
        if (mixture == nullptr) {
            return fail("{}: {} is missing or 0, but every layer of gpt-oss has a mixture of experts", keys.file(),
                        keys.spell("experts"));
        }
        mixture->activation = activation;
        mixture->route.scoring = RouteSpec::Scoring::softmax_of_chosen;
        mixture->route.renormalise = false;
    }
    return config;
}

DecoderTraits traits() {
    DecoderTraits traits{.attention_biases = true,
                         .output_biases = true,
                         .experts_interleaved = true,
                         .expert_biases = true,
                         .mixture = {.router = "mlp.router.weight",
                                     .router_bias = "mlp.router.bias",
                                     .gate = "mlp.experts.gate_up_proj",
                                     .up = "mlp.experts.gate_up_proj",
                                     .down = "mlp.experts.down_proj",
                                     .down_fused = ""}};
    traits.norms.ffn.weight.gguf = "post_attention_norm.weight";  // in front of the experts, whatever its name
    return traits;
}

}  // namespace

const Architecture kGptOssArchitecture{.name = "gpt-oss",
                                       .summary = "OpenAI's gpt-oss-20b and gpt-oss-120b",
                                       .model_types = {"gpt_oss"},
                                       .read_config = read_config,
                                       .declare = declare_with<traits>,
                                       .build = build_with<traits>};

}  // namespace invar
