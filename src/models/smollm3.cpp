// Architecture "smollm3": SmolLM 3.
// It is llama, but every fourth layer does not rotate positions. config.json lists such layers or states the interval;
// GGUF has no key for it, so the interval of the published models is taken and noted. GGUF files store query and key
// rows as those of llama do.
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/read_config.h"

namespace invar {
namespace {

// Whether each layer rotates positions.
Result<std::vector<bool>> read_rotating_layers(const Hyperparameters& keys, ModelConfig& config) {
    const size_t layers = config.layers.size();
    std::vector<bool> rotates(layers);
    if (keys.has("layers with rope")) {
        TRY_ASSIGN(const std::vector<int64_t> listed, keys.integers("layers with rope", 0, 1));
        if (listed.size() < layers) {
            return fail("{}: {} has {} numbers, but the model has {} layers", keys.file(),
                        keys.spell("layers with rope"), listed.size(), layers);
        }
        for (size_t i = 0; i < layers; ++i) rotates[i] = listed[i] == 1;
        return rotates;
    }
    int64_t interval = 4;
    if (is_gguf(keys)) {
        config.notes.emplace_back(
            "the file does not say which layers leave positions unrotated; in SmolLM 3 every fourth one does");
    } else {
        TRY_ASSIGN(interval, keys.integer("interval without rope", 1, kMaximumLayers));
    }
    for (size_t i = 0; i < layers; ++i) rotates[i] = static_cast<int64_t>(i + 1) % interval != 0;
    return rotates;
}

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    TRY_ASSIGN(ModelConfig config,
               read_dense_config(
                   checkpoint, {.architecture = "smollm3", .computes = {"no_rope_layers", "no_rope_layer_interval"}}));
    const Hyperparameters keys(checkpoint);
    TRY_ASSIGN(const bool windows, keys.boolean_or("windows used", false));
    if (windows) {
        return fail(ErrorKind::unsupported, "{}: {} is true, but windows are not supported for this architecture",
                    keys.file(), keys.spell("windows used"));
    }
    if (is_gguf(keys) && keys.has("window")) {
        TRY_ASSIGN(const int64_t window, keys.integer("window", 0, INT32_MAX));
        if (window > 0) {
            return fail(ErrorKind::unsupported, "{}: {} is {}, but windows are not supported for this architecture",
                        keys.file(), keys.spell("window"), window);
        }
    }
    TRY_ASSIGN(const std::vector<bool> rotates, read_rotating_layers(keys, config));
    for (size_t i = 0; i < rotates.size(); ++i) {
        auto& attention = std::get<AttentionGeometry>(config.layers[i].mixer);
        attention.window = 0;
        if (!rotates[i]) attention.rope = -1;
    }
    return config;
}

std::vector<WantedWeight> declare(const ModelConfig& config, const Checkpoint& checkpoint) {
    return declare_decoder(config, checkpoint, {.gguf_rope_neighbours = true});
}

}  // namespace

const Architecture kSmolLm3Architecture{.name = "smollm3",
                                        .summary = "SmolLM 3",
                                        .model_types = {"smollm3"},
                                        .read_config = read_config,
                                        .declare = declare,
                                        .build = build_decoder};

}  // namespace invar
