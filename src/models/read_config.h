// Reads the config of the decoder families here, whatever the dialect (hyperparameters.h). A number that gives meaning
// to the weights is read, or the checkpoint is refused. One number is inferred: the width of a head, in files written
// before its key existed, is taken from a tensor's shape, cross-checked, and noted.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "files/checkpoint.h"
#include "models/config.h"
#include "models/config_json.h"
#include "models/hyperparameters.h"

namespace invar {

// How a family reads a mixture of experts.
struct MixtureRules {
    // Whether weights are renormalised where no key says so. Nothing: they are in GGUF files; in config.json of models
    // whose experts have the width of a dense part.
    std::optional<bool> renormalised;
    bool shared = false;  // an expert that every token takes is computed
};

struct FamilyRules {
    KeyList computed = {};  // keys of config.json that most architectures leave out and this one reads
    MixtureRules mixture = {};
};

Result<ModelConfig> read_decoder_config(const Checkpoint& checkpoint, std::string_view architecture,
                                        const FamilyRules& rules = {});
// Fails if the config has a mixture of experts.
Result<ModelConfig> read_dense_config(const Checkpoint& checkpoint, std::string_view architecture);

// ---- parts, for families whose layers differ from each other

inline constexpr int64_t kMaximumLayers = 4096;
inline constexpr int64_t kMaximumHeads = 65536;
inline constexpr int64_t kMaximumHeadWidth = 1024;
inline constexpr int64_t kMaximumWidth = 1 << 20;
inline constexpr int64_t kMaximumExperts = 65536;

struct HeadCounts {
    std::vector<int64_t> query, kv;  // by layer
};

// Everything but ropes and layers.
Result<ModelConfig> read_model_config(const Hyperparameters& keys, std::string_view architecture,
                                      const FamilyRules& rules);
Result<HeadCounts> read_heads(const Hyperparameters& keys, size_t layers, ModelConfig& config);
Result<RopeSpec> read_rope(const Hyperparameters& keys, int64_t key_width, ModelConfig& config);
// The mixture of the layers that have one; nothing for a dense model.
Result<std::optional<MixtureGeometry>> read_mixture(const Hyperparameters& keys, const MixtureRules& rules);
// The layers that have a dense part although the model has experts: transformers' mlp_only_layers and
// decoder_sparse_step.
Result<std::vector<bool>> read_dense_layers(const Hyperparameters& keys, size_t layers);

}  // namespace invar
