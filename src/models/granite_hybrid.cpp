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
#include "models/read_config.h"
#include "models/state_space_config.h"

namespace invar {
namespace {

// Whether each layer is Mamba 2.
Result<std::vector<bool>> read_recurrent_layers(const Hyperparameters& keys, size_t layers) {
    std::vector<bool> recurrent;
    if (is_gguf(keys)) {
        TRY_ASSIGN(const std::vector<int64_t> kv_heads, keys.for_each_layer("KV heads", layers, 0, kMaximumHeads));
        for (const int64_t heads : kv_heads) recurrent.push_back(heads == 0);
        return recurrent;
    }
    TRY_ASSIGN(const std::vector<std::string> kinds, keys.kinds_of_layers("kinds of blocks", layers));
    for (const std::string& kind : kinds) {
        const bool mamba = kind == "mamba" || kind == "linear_attention";
        if (!mamba && kind != "attention" && kind != "full_attention") {
            return fail(ErrorKind::unsupported,
                        "{}: {} has the kind '{}' for layer {}, but only mamba and attention (linear_attention and "
                        "full_attention) are supported for this architecture",
                        keys.file(), keys.spell("kinds of blocks"), printable(kind), recurrent.size());
        }
        recurrent.push_back(mamba);
    }
    return recurrent;
}

// The attention of one layer; all that attend are equal.
Result<AttentionGeometry> read_attention(const Hyperparameters& keys, size_t layers, size_t layer,
                                         ModelConfig& config) {
    TRY_ASSIGN(const std::vector<int64_t> all, keys.for_each_layer("heads", layers, 1, kMaximumHeads));
    std::vector<int64_t> all_kv = all;
    if (keys.has("KV heads")) {
        TRY_ASSIGN(all_kv, keys.for_each_layer("KV heads", layers, 0, kMaximumHeads));
    }
    const int64_t heads = all[layer], kv_heads = all_kv[layer];
    for (size_t i = 0; i < layers; ++i) {
        if (all[i] == heads && (all_kv[i] == 0 || all_kv[i] == kv_heads)) continue;
        return fail(ErrorKind::unsupported,
                    "{}: layers {} and {} have different numbers of heads, which is not supported for this "
                    "architecture",
                    keys.file(), layer, i);
    }
    if (kv_heads == 0 || heads % kv_heads != 0) {
        return fail("{}: layer {} has {} query heads and {} KV heads, but the first must be a multiple of the second",
                    keys.file(), layer, heads, kv_heads);
    }
    const auto first = static_cast<int>(layer);
    TRY_ASSIGN(const int64_t key_width, read_head_width(keys, "key width", "attn_k.weight", "self_attn.k_proj.weight",
                                                        kv_heads, config.notes, 0, first));
    TRY_ASSIGN(const int64_t value_width, read_head_width(keys, "value width", "attn_v.weight",
                                                          "self_attn.v_proj.weight", kv_heads, config.notes, 0, first));
    TRY_ASSIGN(const double scale, keys.positive("score scale"));
    TRY_ASSIGN(const bool rotated, granite_has_rope(keys, false));
    if (rotated) {
        TRY_ASSIGN(const RopeSpec rope, read_rope(keys, key_width, config));
        config.ropes.push_back(rope);
    }
    return AttentionGeometry{.heads = static_cast<int>(heads),
                             .kv_heads = static_cast<int>(kv_heads),
                             .key_width = static_cast<int>(key_width),
                             .value_width = static_cast<int>(value_width),
                             .rope = rotated ? 0 : -1,
                             .scale = static_cast<float>(scale)};
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
    TRY_ASSIGN(mixture->shared_width, keys.integer("shared expert width", 1, kMaximumWidth));
    mixture->shared_gated = false;
    mixture->route.scoring = RouteSpec::Scoring::softmax_of_chosen;
    mixture->route.renormalise = false;
    return *mixture;
}

Result<void> read_layers(const Hyperparameters& keys, ModelConfig& config) {
    TRY(read_granite_multipliers(keys, config));
    TRY_ASSIGN(const int64_t count, keys.integer("layers", 1, kMaximumLayers));
    const auto layers = static_cast<size_t>(count);
    TRY_ASSIGN(const std::vector<bool> recurrent, read_recurrent_layers(keys, layers));
    const auto attending = std::find(recurrent.begin(), recurrent.end(), false);
    AttentionGeometry attention;
    if (attending != recurrent.end()) {
        const auto first = static_cast<size_t>(attending - recurrent.begin());
        TRY_ASSIGN(attention, read_attention(keys, layers, first, config));
    }
    StateSpaceGeometry space;
    if (std::find(recurrent.begin(), recurrent.end(), true) != recurrent.end()) {
        TRY_ASSIGN(space, read_state_space(keys, config));
    }
    TRY_ASSIGN(const auto ffn, read_feed_forward(keys));
    for (const bool mamba : recurrent) {
        LayerSpec layer{.ffn = ffn, .norm_epsilon = config.norm_epsilon};
        if (mamba) {
            layer.mixer = space;
        } else {
            layer.mixer = attention;
        }
        config.layers.push_back(layer);
    }
    return check_convolution_biases(keys, config, "mamba.conv1d.bias");
}

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    return read_decoder_config(checkpoint, {.architecture = "granitehybrid",
                                            .computes = {"embedding_multiplier", "residual_multiplier",
                                                         "attention_multiplier", "logits_scaling"},
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

std::vector<WantedWeight> declare(const ModelConfig& config, const Checkpoint& checkpoint) {
    return declare_decoder(config, checkpoint, traits());
}
Result<std::unique_ptr<Model>> build(const ModelConfig& config, const WeightSource& weights) {
    return build_decoder(config, weights, traits());
}

}  // namespace

const Architecture kGraniteHybridArchitecture{.name = "granitehybrid",
                                              .summary = "Granite 4: Mamba 2 and attention, dense or with experts",
                                              .model_types = {"granitemoehybrid"},
                                              .read_config = read_config,
                                              .declare = declare,
                                              .build = build};

}  // namespace invar
