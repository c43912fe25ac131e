// Architecture "mistral3": Ministral 3, Devstral 2, and what llama.cpp's converter writes for newer Mistral models.
// It is llama whose queries are multiplied, behind rope, by 1 + beta ln(1 + floor(position / L)), where L is YaRN's
// original context. Beta is rounded to binary32, as GGUF files hold it. In GGUF, yarn_log_multiplier holds
// mscale_all_dim, and mscale is 1; without it or with 0 YaRN scales as in the paper. Files without beta are plain
// llama. Mistral's own layout says the same in params.json, as llama_4_scaling and yarn.apply_scale.
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/read_config.h"

namespace invar {
namespace {

// mscale and mscale_all_dim scale cosines and sines if neither is 0 and no factor is given.
Result<void> read_yarn_scale(const Hyperparameters& keys, RopeSpec& rope) {
    if (rope.scaling != RopeSpec::Scaling::yarn || !keys.has("yarn scale") || keys.has("yarn multiplier")) return {};
    if (!is_gguf(keys) && !keys.has("yarn scale of all")) return {};
    TRY_ASSIGN(const double stated, keys.number("yarn scale"));
    const double scale = is_gguf(keys) ? 1.0 : stated;
    double of_all = stated;
    if (!is_gguf(keys)) {
        TRY_ASSIGN(of_all, keys.number("yarn scale of all"));
    }
    if (scale == 0 || of_all == 0) return {};
    const double factor = yarn_attention(rope.factor, scale) / yarn_attention(rope.factor, of_all);
    rope.attn_factor = factor / yarn_attention(rope.factor, 1.0);
    if (const auto valid = validate(rope); !valid) {
        return fail("{}: by {} {}, {}", keys.file(), keys.spell("yarn scale"), stated, valid.error().message);
    }
    return {};
}

Result<PositionScale> read_temperature(const Hyperparameters& keys, const RopeSpec& rope) {
    if (!keys.has("query temperature")) return PositionScale();
    TRY_ASSIGN(const double beta, keys.positive("query temperature"));
    PositionScale temperature{.beta = static_cast<float>(beta), .length = static_cast<int64_t>(rope.original_context)};
    if (keys.has("query temperature length")) {
        TRY_ASSIGN(temperature.length, keys.integer("query temperature length", 1, int64_t{1} << 40));
    }
    if (temperature.length >= 1) return temperature;
    return fail("{}: {} scales queries by their position, but {}, which it needs, is not there", keys.file(),
                keys.spell("query temperature"), keys.spell("rope original context"));
}

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    TRY_ASSIGN(ModelConfig config, read_dense_config(checkpoint, {.architecture = "mistral3",
                                                                  .rope = {.scale_is_read = true},
                                                                  .query_temperature = true}));
    const Hyperparameters keys(checkpoint);
    RopeSpec& rope = config.ropes.front();
    TRY(read_yarn_scale(keys, rope));
    TRY_ASSIGN(const PositionScale temperature, read_temperature(keys, rope));
    for (LayerSpec& layer : config.layers) std::get<AttentionGeometry>(layer.mixer).temperature = temperature;
    if (temperature.beta == 0) config.architecture = "llama";  // of the same model in a directory
    return config;
}

std::vector<WantedWeight> declare(const ModelConfig& config, const Checkpoint& checkpoint) {
    return declare_decoder(config, checkpoint, {.gguf_rope_neighbours = true});
}

}  // namespace

const Architecture kMistral3Architecture{.name = "mistral3",
                                         .summary = "Ministral 3, Devstral 2 and Mistral Small from newer files",
                                         .model_types = {"ministral3"},
                                         .read_config = read_config,
                                         .declare = declare,
                                         .build = build_decoder};

}  // namespace invar
