// The full description of a model: for every layer its mixer, its feed-forward part and their geometry, and the numbers
// of the whole model. It is read from a checkpoint or the checkpoint is refused (hyperparameters.h): nothing here has a
// silent default. blocks.cpp uses the numbers; visit_config() lists every number once.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "arithmetic/rope.h"
#include "base/result.h"
#include "state/sequence_state.h"

namespace invar {

// A mixer in which each position attends to those before it.
struct AttentionGeometry {
    int heads = 0;
    int kv_heads = 0;
    int key_width = 0;    // elements of a query or key of one head
    int value_width = 0;  // elements of a value of one head
    int window = 0;       // positions seen, itself included; 0: all
    int rope = -1;        // index into ModelConfig::ropes; -1: positions are not rotated
    float scale = 0;      // of the scores
};

struct DenseGeometry {
    int64_t width = 0;
};

struct MixtureGeometry {
    int experts = 0;
    int per_token = 0;
    int64_t width = 0;  // of one expert
    bool renormalise = true;
};

struct LayerSpec {
    std::variant<AttentionGeometry> mixer;
    std::variant<DenseGeometry, MixtureGeometry> ffn;
    float norm_epsilon = 0;

    // Null if the layer has another kind.
    const AttentionGeometry* attention() const { return std::get_if<AttentionGeometry>(&mixer); }
    const DenseGeometry* dense() const { return std::get_if<DenseGeometry>(&ffn); }
    const MixtureGeometry* mixture() const { return std::get_if<MixtureGeometry>(&ffn); }
};

// Tensors that a checkpoint may have and that the model does not use. "*" in the pattern matches any text.
struct UnusedTensors {
    std::string pattern;  // of names: "model.layers.46.*"
    std::string because;  // a clause: "a layer that predicts further tokens, which is not computed"
};

struct ModelConfig {
    std::string architecture;  // "qwen3moe"
    std::string name;          // general.name, or the checkpoint's name
    int64_t vocabulary = 0;
    int64_t width = 0;           // of the residual stream
    int64_t context_length = 0;  // the model was trained for
    float norm_epsilon = 0;      // of the last norm
    std::vector<RopeSpec> ropes;
    std::vector<LayerSpec> layers;
    std::vector<std::string> notes;         // numbers that did not come from the expected key, and why that is safe
    std::vector<std::string> tensors_read;  // tensors whose numbers are in this config
    std::vector<UnusedTensors> tensors_unused;

    std::vector<KvGeometry> kv_geometry() const;
    // The largest over all layers; 0 without a mixture.
    int most_experts() const;
    int most_experts_per_token() const;
};

// A number that changes the result of a model: its name in words, and its value as text (the shortest, so that equal
// texts mean equal numbers).
struct ConfigField {
    std::string name;  // "layer 3's KV heads"
    std::string value;
};
// Returns all of them, in the order of the model.
std::vector<ConfigField> fields_of(const ModelConfig& config);

}  // namespace invar
