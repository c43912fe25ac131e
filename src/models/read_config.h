// Reads the config of the decoder families here, whatever the dialect (hyperparameters.h). A number that gives meaning
// to the weights is read, or the checkpoint is refused. One number is inferred: the width of a head, in files written
// before its key existed, is taken from a tensor's shape, cross-checked, and noted.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "files/checkpoint.h"
#include "models/config.h"
#include "models/hyperparameters.h"

namespace invar {

Result<ModelConfig> read_decoder_config(const Checkpoint& checkpoint, std::string_view architecture);
// Fails if the config has a mixture of experts.
Result<ModelConfig> read_dense_config(const Checkpoint& checkpoint, std::string_view architecture);

// ---- parts for families that read their layers on their own

inline constexpr int64_t kMaximumLayers = 4096;
inline constexpr int64_t kMaximumHeads = 65536;
inline constexpr int64_t kMaximumHeadWidth = 1024;
inline constexpr int64_t kMaximumWidth = 1 << 20;
inline constexpr int64_t kMaximumExperts = 65536;

// The numbers of the whole model: all but layers and ropes. `computed` names keys of config.json that the family
// computes, so that they may have values other than the neutral ones (config_json.h).
Result<ModelConfig> read_whole_model(const Hyperparameters& keys, std::string_view architecture,
                                     std::span<const std::string_view> computed);

struct Heads {
    std::vector<int64_t> query, kv;  // of each layer
};
Result<Heads> read_heads(const Hyperparameters& keys, size_t layers, ModelConfig& config);

// The width of a head: the value of the key, or the rows of the first layer's projection over the KV heads, which must
// divide exactly.
Result<int64_t> read_head_width(const Hyperparameters& keys, std::string_view word, std::string_view gguf,
                                std::string_view hugging_face, int64_t kv_heads, std::vector<std::string>& notes);

struct RopeOptions {
    RopePairing pairing = RopePairing::halves;
    bool scale_is_read = false;  // the family reads YaRN's mscale; else a file that has it is refused
};
// The rope of heads of `key_width` elements, of which all or the stated share turn.
Result<RopeSpec> read_rope(const Hyperparameters& keys, int64_t key_width, ModelConfig& config,
                           const RopeOptions& options = {});

}  // namespace invar
