// Architectures "ernie4_5" and "ernie4_5-moe": Baidu's ERNIE 4.5, dense and with a mixture of experts.
// It is llama whose rope turns pairs of neighbours in both containers. The mixture ranks experts by their softmax plus
// a bias, weighs by the softmax alone, renormalised, and adds an expert that every token takes. Published code divides
// by the larger of the weights' sum and 1e-12; here the sum itself divides, which is the same unless all chosen
// experts together have less than that. The dense layers come first.
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/read_config.h"

namespace invar {
namespace {

constexpr RopeOptions kRope{.pairing = RopePairing::adjacent};

Result<ModelConfig> read_dense(const Checkpoint& checkpoint) {
    return read_dense_config(checkpoint, {.architecture = "ernie4_5", .rope = kRope});
}

Result<int64_t> read_shared_width(const Hyperparameters& keys, int64_t expert_width) {
    if (is_gguf(keys)) {
        if (!keys.has("shared expert width")) return int64_t{0};
        return keys.integer("shared expert width", 0, kMaximumWidth);
    }
    TRY_ASSIGN(const int64_t count, keys.integer("shared experts", 0, kMaximumWidth / expert_width));
    return count * expert_width;
}

// Whether each layer has the mixture.
Result<std::vector<bool>> read_mixture_layers(const Hyperparameters& keys, size_t layers) {
    const auto last = static_cast<int64_t>(layers) - 1;
    TRY_ASSIGN(const int64_t first, keys.integer("first layer of experts", 0, kMaximumLayers));
    int64_t step = 1, end = last;
    if (!is_gguf(keys) || keys.has("step of experts")) {
        TRY_ASSIGN(step, keys.integer("step of experts", 1, kMaximumLayers));
    }
    if (!is_gguf(keys)) {
        TRY_ASSIGN(end, keys.integer("last layer of experts", -1, kMaximumLayers));
        if (end == -1) end = last;
    }
    std::vector<bool> mixture;
    for (int64_t i = 0; i <= last; ++i) mixture.push_back((i + 1) % step == 0 && i >= first && i <= end);
    return mixture;
}

Result<ModelConfig> read_mixture_config(const Checkpoint& checkpoint) {
    TRY_ASSIGN(ModelConfig config,
               read_decoder_config(checkpoint, {.architecture = "ernie4_5-moe",
                                                .mixture = {.renormalised = true, .shared_apart = true},
                                                .rope = kRope}));
    const Hyperparameters keys(checkpoint);
    TRY(check_router_law(keys, {1}));
    TRY_ASSIGN(const std::vector<bool> mixed, read_mixture_layers(keys, config.layers.size()));
    TRY_ASSIGN(const std::vector<int64_t> dense,
               keys.for_each_layer("ffn width", config.layers.size(), 1, kMaximumWidth));
    for (size_t i = 0; i < mixed.size(); ++i) {
        auto* mixture = std::get_if<MixtureGeometry>(&config.layers[i].ffn);
        if (mixture == nullptr) {
            return fail("{}: {} is missing or 0, but ernie4_5-moe has a mixture of experts", keys.file(),
                        keys.spell("experts"));
        }
        TRY_ASSIGN(mixture->shared_width, read_shared_width(keys, mixture->width));
        if (!mixed[i]) config.layers[i].ffn = DenseGeometry{.width = dense[i]};
    }
    if (!is_gguf(keys)) {
        config.tensors_unused.push_back({"model.mtp_*", "a part that predicts further tokens, which is not computed"});
    }
    return config;
}

std::vector<WantedWeight> declare_dense(const ModelConfig& config, const Checkpoint& checkpoint) {
    return declare_decoder(config, checkpoint, {});
}

DecoderTraits mixture_traits() {
    DecoderTraits traits{.selection_biases = true, .softmax_selection_bias = true};
    traits.mixture.selection_bias = "mlp.moe_statics.e_score_correction_bias";
    traits.mixture.shared.gate.hugging_face = "mlp.shared_experts.gate_proj.weight";
    traits.mixture.shared.up.hugging_face = "mlp.shared_experts.up_proj.weight";
    traits.mixture.shared.down.hugging_face = "mlp.shared_experts.down_proj.weight";
    return traits;
}

std::vector<WantedWeight> declare_mixture(const ModelConfig& config, const Checkpoint& checkpoint) {
    return declare_decoder(config, checkpoint, mixture_traits());
}

Result<std::unique_ptr<Model>> build_mixture(const ModelConfig& config, const WeightSource& weights) {
    return build_decoder(config, weights, mixture_traits());
}

}  // namespace

const Architecture kErnie45Architecture{.name = "ernie4_5",
                                        .summary = "Baidu's dense ERNIE 4.5",
                                        .model_types = {"ernie4_5"},
                                        .read_config = read_dense,
                                        .declare = declare_dense,
                                        .build = build_decoder};
const Architecture kErnie45MoeArchitecture{.name = "ernie4_5-moe",
                                           .summary = "Baidu's ERNIE 4.5 with a mixture of experts",
                                           .model_types = {"ernie4_5_moe"},
                                           .read_config = read_mixture_config,
                                           .declare = declare_mixture,
                                           .build = build_mixture};

}  // namespace invar
