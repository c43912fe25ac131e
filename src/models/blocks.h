// The parts of decoder models, each written in verbs: attention with its norm, and a feed-forward part that is either
// dense or a mixture of experts. An absent weight has no value here, so it cannot be used by mistake.
#pragma once

#include <optional>
#include <variant>
#include <vector>

#include "models/architecture.h"

namespace invar {

struct AttentionWeights {
    WeightMatrix query, key, value, output;
    std::optional<WeightVector> query_bias, key_bias, value_bias, output_bias;
    std::optional<WeightVector> query_norm, key_norm;  // on each head, before rope
};

struct DenseFfn {
    WeightMatrix gate, up, down;
};

struct MixtureFfn {
    WeightMatrix router;
    WeightStack gate, up, down;
};

struct DecoderLayer {
    WeightVector mixer_norm;
    std::variant<AttentionWeights> mixer;
    WeightVector ffn_norm;
    std::variant<DenseFfn, MixtureFfn> ffn;
};

// Scratch that every layer of a pass reuses. It is sized for the widest layer.
struct DecoderScratch {
    Tensor normed;  // [rows, width]
    Tensor branch;  // [rows, width], what a branch adds to the residual stream
    Tensor query, key, value, attended;
    Tensor gate, up;                // [rows, ffn width]
    Tensor expert_gate, expert_up;  // [slots, expert width]
    Tensor router;                  // [rows, experts]
    Tensor slots;                   // [slots, width]
    ExpertSlots routing;
};
DecoderScratch take_scratch(Ops& ops, const ModelConfig& config, int64_t rows);

// The data that all parts of a layer share in a pass.
struct LayerCall {
    Ops& ops;
    const ModelConfig& config;
    const std::vector<RopeTable>& ropes;  // as config.ropes
    int layer = 0;
    const Batch& batch;
    SequenceState& cache;
    const DecoderScratch& scratch;
};
// scratch.branch = mixer(norm(residual)): what a family adds to the residual stream in its own way
void mixer_branch(const LayerCall& call, const DecoderLayer& weights, Tensor residual);
// scratch.branch = ffn(norm(residual)), likewise
void ffn_branch(const LayerCall& call, const DecoderLayer& weights, Tensor residual);
// residual += mixer(norm(residual))
void mixer_block(const LayerCall& call, const DecoderLayer& weights, Tensor residual);
// residual += ffn(norm(residual))
void ffn_block(const LayerCall& call, const DecoderLayer& weights, Tensor residual);

// The names in which Hugging Face's files hold a mixture; "{}" is the number of an expert.
struct MixtureNames {
    std::string_view router = "mlp.gate.weight";
    std::string_view gate = "mlp.experts.{}.gate_proj.weight", up = "mlp.experts.{}.up_proj.weight";
    std::string_view down = "mlp.experts.{}.down_proj.weight";
};

// How the files of a family hold its weights.
struct DecoderTraits {
    bool attention_biases = false;      // query, key and value biases are wanted; else they are taken where they are
    bool head_norms = false;            // query and key norms are wanted
    bool gguf_rope_neighbours = false;  // GGUF files store query and key rows so that rope's pairs are neighbours
    MixtureNames mixture = {};
};
// Lists every weight of a decoder made of these parts. Optional weights are taken if the checkpoint has them.
std::vector<WantedWeight> declare_decoder(const ModelConfig& config, const Checkpoint& checkpoint,
                                          const DecoderTraits& traits);

// A decoder of these parts with a final norm and head: the forward pass of llama, qwen2, qwen3 and qwen3moe alike.
Result<std::unique_ptr<Model>> build_decoder(const ModelConfig& config, const WeightSource& weights);

}  // namespace invar
