// Architecture "granitehybrid": Granite 4, whose layers mix by Mamba 2 or by attention.
// Every layer has a feed-forward part: a mixture of experts beside an expert that every token takes, or that one alone.
// The router ranks by logits and weighs by the softmax of the chosen ones. config.json calls the dense part shared_mlp
// in both cases; in GGUF files it is ffn_*_shexp beside experts and ffn_* without. Gate and up are one tensor in
// Hugging Face's files. Multipliers are those of Granite 3, each rounded to binary32 when it is read, because GGUF
// files hold it so; the logits are multiplied by the reciprocal of their divisor, rounded once. Positions are rotated
// only if config.json asks for rope. GGUF files hold the rows of queries and keys as for rope in any case, and have 0
// KV heads for layers of Mamba 2. Source: transformers 5.24, models/granitemoehybrid.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "files/printable.h"
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/granite_config.h"
#include "models/hybrid_attention.h"
#include "models/read_config.h"
#include "models/state_space_config.h"

namespace invar {
namespace {

// Whether each layer attends; the others are Mamba 2.
Result<std::vector<bool>> read_kinds(const Hyperparameters& keys, size_t layers) {
    if (is_gguf(keys)) return read_attending_layers(keys, layers);
    TRY_ASSIGN(const std::vector<std::string> kinds, keys.kinds_of_layers("kinds of blocks", layers));
    std::vector<bool> attending;
    for (const std::string& kind : kinds) {
        const bool mamba = kind == "mamba" || kind == "linear_attention";
        if (!mamba && kind != "attention" && kind != "full_attention") {
            return fail(ErrorKind::unsupported,
                        "{}: {} has the kind '{}' for layer {}, but only mamba and attention (linear_attention and "
                        "full_attention) are supported for this architecture",
                        keys.file(), keys.spell("kinds of blocks"), printable(kind), attending.size());
        }
        attending.push_back(!mamba);
    }
    return attending;
}

// The attention of the layers that attend.
Result<AttentionGeometry> read_attention(const Hyperparameters& keys, const std::vector<bool>& attending,
                                         ModelConfig& config) {
    TRY_ASSIGN(AttentionGeometry attention, read_hybrid_attention(keys, attending, config));
    TRY_ASSIGN(const double scale, keys.positive("score scale"));
    attention.scale = static_cast<float>(scale);
    TRY_ASSIGN(const bool rotated, granite_has_rope(keys, false));
    if (rotated) {
        TRY_ASSIGN(const RopeSpec rope, read_rope(keys, attention.key_width, config));
        config.ropes.push_back(rope);
        attention.rope = 0;
    }
    return attention;
}

// In GGUF files a router may be called softmax of all, renormalised, which is the same mathematics.
Result<void> check_router(const Hyperparameters& keys) {
    if (!is_gguf(keys) || !keys.has("router")) return {};
    TRY_ASSIGN(const int64_t number, keys.integer("router", 0, INT32_MAX));
    if (number == 1 || number == 3) return {};
    return fail(ErrorKind::unsupported,
                "{}: {} is {}, but only 1 (softmax) and 3 (softmax of the chosen) are supported for this architecture",
                keys.file(), keys.spell("router"), number);
}

Result<decltype(LayerSpec::ffn)> read_feed_forward(const Hyperparameters& keys) {
    TRY_ASSIGN(std::optional<MixtureGeometry> mixture, read_mixture(keys, {.shared = true}));
    if (!mixture) {
        TRY_ASSIGN(const int64_t width,
                   keys.integer(is_gguf(keys) ? "ffn width" : "shared expert width", 1, kMaximumWidth));
        return DenseGeometry{.width = width};
    }
    TRY(check_router(keys));
    TRY(check_renormalised(keys));
    TRY_ASSIGN(mixture->shared_width, keys.integer("shared expert width", 1, kMaximumWidth));
    mixture->shared_gated = false;
    mixture->route.scoring = RouteSpec::Scoring::softmax_of_chosen;
    mixture->route.renormalise = false;
    return *mixture;
}

Result<void> read_layers(const Hyperparameters& keys, ModelConfig& config) {
    TRY(read_granite_multipliers(keys, config));
    TRY_ASSIGN(const int64_t count, keys.integer("layers", 1, kMaximumLayers));
    TRY_ASSIGN(const std::vector<bool> attending, read_kinds(keys, static_cast<size_t>(count)));
    AttentionGeometry attention;
    if (std::find(attending.begin(), attending.end(), true) != attending.end()) {
        TRY_ASSIGN(attention, read_attention(keys, attending, config));
    }
    StateSpaceGeometry space;
    if (std::find(attending.begin(), attending.end(), false) != attending.end()) {
        TRY_ASSIGN(space, read_state_space(keys, config));
    }
    TRY_ASSIGN(const auto ffn, read_feed_forward(keys));
    for (const bool attends : attending) {
        LayerSpec layer{.ffn = ffn, .norm_epsilon = config.norm_epsilon};
        if (attends) {
            layer.mixer = attention;
        } else {
            layer.mixer = space;
        }
        config.layers.push_back(layer);
    }
    return check_convolution_biases(keys, config, "mamba.conv1d.bias");
}

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    return read_decoder_config(checkpoint,
                               {.architecture = "granitehybrid",
                                .computes = {"embedding_multiplier", "residual_multiplier", "attention_multiplier",
                                             "logits_scaling", "position_embedding_type"},
                                .read_layers = read_layers});
}

DecoderTraits traits() {
    DecoderTraits traits{.gguf_rope_neighbours = true};
    traits.state_space = {.inputs = "mamba.in_proj.weight",
                          .output = "mamba.out_proj.weight",
                          .convolution = "mamba.conv1d.weight",
                          .convolution_bias = "mamba.conv1d.bias",
                          .a = "mamba.A_log",
                          .dt_bias = "mamba.dt_bias",
                          .d = "mamba.D",
                          .norm = "mamba.norm.weight"};
    traits.mixture.router = "block_sparse_moe.router.layer.weight";
    traits.mixture.fused = "block_sparse_moe.input_linear.weight";
    traits.mixture.down_fused = "block_sparse_moe.output_linear.weight";
    for (DenseNames* names : {&traits.dense, &traits.mixture.shared}) {
        names->hugging_face_fused = "shared_mlp.input_linear.weight";
        names->down.hugging_face = "shared_mlp.output_linear.weight";
    }
    return traits;
}

}  // namespace

const Architecture kGraniteHybridArchitecture{.name = "granitehybrid",
                                              .summary = "Granite 4: Mamba 2 and attention, dense or with experts",
                                              .model_types = {"granitemoehybrid"},
                                              .read_config = read_config,
                                              .declare = declare_with<traits>,
                                              .build = build_with<traits>};

}  // namespace invar
