// A model said in full: for every layer its mixer, its feed-forward part and their geometry, and what belongs to the
// whole model. Read from a checkpoint or refused (hyperparameters.h): nothing here has a silent default. What the
// numbers are used for is in blocks.cpp; every number is listed once, in visit_config().
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "arithmetic/rope.h"
#include "base/result.h"
#include "state/sequence_state.h"

namespace invar {

// A mixer that lets each position look at those before it.
struct AttentionGeometry {
    int heads = 0;
    int kv_heads = 0;
    int key_width = 0;    // elements of a query or key of one head
    int value_width = 0;  // elements of a value of one head
    int window = 0;       // positions seen, itself included; 0: all
    int rope = -1;        // of ModelConfig::ropes; -1: positions are not turned
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

    // Null where the layer has another kind.
    const AttentionGeometry* attention() const { return std::get_if<AttentionGeometry>(&mixer); }
    const DenseGeometry* dense() const { return std::get_if<DenseGeometry>(&ffn); }
    const MixtureGeometry* mixture() const { return std::get_if<MixtureGeometry>(&ffn); }
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
    std::vector<std::string> notes;  // where a number did not come from the key one would expect, and why it is safe
    std::vector<std::string> tensors_read;  // tensors whose numbers are in this config

    std::vector<KvGeometry> kv_geometry() const;
    // Over all layers; 0 without a mixture.
    int most_experts() const;
    int most_experts_per_token() const;
};

// A number that changes what a model computes, in words, with its value as text (shortest, so that equal texts are
// equal numbers).
struct ConfigField {
    std::string name;  // "layer 3's KV heads"
    std::string value;
};
// All of them, in the order of the model.
std::vector<ConfigField> fields_of(const ModelConfig& config);

}  // namespace invar
