// Reads the config of the decoder families here, whatever the dialect (hyperparameters.h). A number that gives meaning
// to the weights is read, or the checkpoint is refused. One number is inferred: the width of a head, in files written
// before its key existed, is taken from a tensor's shape, cross-checked, and noted. A family with layers of its own
// reads them itself, from the parts at the end.
#pragma once

#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "files/checkpoint.h"
#include "models/config.h"
#include "models/hyperparameters.h"

namespace invar {

// How a family reads a mixture of experts.
struct MixtureRules {
    // Whether weights are renormalised where no key says so. Nothing: they are in GGUF files; in config.json of models
    // whose experts have the width of a dense part.
    std::optional<bool> renormalised = {};
    bool shared = false;        // an expert that every token takes is computed
    bool shared_apart = false;  // the family reads that expert itself
};

struct RopeOptions {
    RopePairing pairing = RopePairing::halves;
    // Scaling "dynamic" with an alpha raises the base once, for all positions, by alpha^(d / (d - 2)) for heads of d
    // elements, rounded to binary32 as GGUF files hold it; else a file that has it is refused.
    bool alpha_raises_base = false;
    bool scale_is_read = false;  // the family reads YaRN's mscale; else a file that has it is refused
    double gguf_base = 0;        // that GGUF files without the base mean; 0: they must have it
};

// How a family reads its config.
struct ConfigFamily {
    std::string_view architecture;
    std::string_view activation =
        "silu";  // the only one that it computes, as config.json calls it; "": the family reads it
    std::string_view epsilon = "norm epsilon";  // the word of its norms' epsilon
    // Keys of config.json that other families leave out: check_config_json().
    std::vector<std::string_view> computes = {};
    MixtureRules mixture = {};
    RopeOptions rope = {};
    bool layer_norms = false;        // its norms are LayerNorms
    bool query_temperature = false;  // it scales queries by their position; else a file that asks for it is refused
    // Reads the layers, the ropes, and what is beyond the numbers that every model has. nullptr: as most families.
    Result<void> (*read_layers)(const Hyperparameters& keys, ModelConfig& config) = nullptr;
};
Result<ModelConfig> read_decoder_config(const Checkpoint& checkpoint, const ConfigFamily& family);
// Fails if the config has a mixture of experts.
Result<ModelConfig> read_dense_config(const Checkpoint& checkpoint, const ConfigFamily& family);

// ---- parts of it, for families that read their layers on their own

// Everything but ropes and layers.
Result<ModelConfig> read_model_config(const Hyperparameters& keys, const ConfigFamily& family);

inline constexpr int64_t kMaximumLayers = 4096;
inline constexpr int64_t kMaximumHeads = 65536;
inline constexpr int64_t kMaximumHeadWidth = 1024;
inline constexpr int64_t kMaximumWidth = 1 << 20;
inline constexpr int64_t kMaximumExperts = 65536;

struct Heads {
    std::vector<int64_t> query, kv;  // one for each layer; the first is a multiple of the second
};
Result<Heads> read_heads(const Hyperparameters& keys, size_t layers, ModelConfig& config);
// The width of a head: the value of the key `word`, or the rows of a layer's projection with these names over
// the KV heads, which must divide exactly. If queries, keys and values are one tensor, its rows over all their heads;
// with 0 query heads there is no such tensor. `layer` is the first that attends.
Result<int64_t> read_head_width(const Hyperparameters& keys, std::string_view word, std::string_view gguf,
                                std::string_view hugging_face, int64_t kv_heads, std::vector<std::string>& notes,
                                int64_t query_heads = 0, int layer = 0);
// Whether config.json says of each layer that it has a window; nothing if it does not name the kinds of layers.
Result<std::vector<bool>> read_sliding_layers(const Hyperparameters& keys, size_t layers);
// The rope of heads of `key_width` elements, of which all or the stated share turn.
Result<RopeSpec> read_rope(const Hyperparameters& keys, int64_t key_width, ModelConfig& config,
                           const RopeOptions& options = {});
// The factors of pairs that a GGUF file holds as a tensor, which must be there.
Result<std::vector<float>> read_rope_factors(const Hyperparameters& keys, std::string_view tensor, int64_t pairs,
                                             ModelConfig& config);
// Fails if a GGUF file names a law of its router (expert_gating_func) that is not one of these.
Result<void> check_router_law(const Hyperparameters& keys, std::initializer_list<int64_t> laws);
bool is_gguf(const Hyperparameters& keys);
// The factor of each pair, which GGUF files hold as the tensor rope_freqs.weight; nothing if there is none.
Result<std::vector<float>> read_frequency_factors(const Hyperparameters& keys, const RopeSpec& rope,
                                                  ModelConfig& config);
// A number that config.json may state for each layer; all must be the same.
Result<int64_t> read_uniform(const Hyperparameters& keys, std::string_view word, int64_t low, int64_t high);
// At most `experts`.
Result<int64_t> read_experts_per_token(const Hyperparameters& keys, int64_t experts);
// Fails if a key says that the weights of the chosen experts are not renormalised, of a family that always does.
Result<void> check_renormalised(const Hyperparameters& keys);
// The mixture of the layers that have one; nothing for a dense model.
Result<std::optional<MixtureGeometry>> read_mixture(const Hyperparameters& keys, const MixtureRules& rules);
// The layers that have a dense part although the model has experts: transformers' mlp_only_layers and
// decoder_sparse_step.
Result<std::vector<bool>> read_dense_layers(const Hyperparameters& keys, size_t layers);

}  // namespace invar
