// The parts of decoder models, each written in verbs: a mixer (attention, latent attention, a gated delta net, Mamba 2
// or a short convolution) and a feed-forward part (dense or a mixture of experts), each with its norms. An absent
// weight has no value here, so it cannot be used by mistake. The weights' names are in decoder_weights.h.
#pragma once

#include <optional>
#include <variant>
#include <vector>

#include "models/architecture.h"

namespace invar {

struct AttentionWeights {
    WeightMatrix query, key, value, output;
    std::optional<WeightVector> query_bias, key_bias, value_bias, output_bias;
    std::optional<WeightVector> query_norm, key_norm;  // on each head, or on all of them together, before rope
    std::optional<WeightVector> sinks;
};

struct LatentWeights {
    WeightMatrix query_down, query;  // query_down: with a query rank
    std::optional<WeightVector> query_norm;
    WeightMatrix latent;  // [latent + rope width, width]
    WeightVector latent_norm;
    WeightStack key_up, value_up;  // [heads, latent, plain width] and [heads, value width, latent]
    WeightMatrix output;
};

struct DeltaWeights {
    WeightMatrix inputs, gate;  // queries, keys and values; the gate of the result
    WeightMatrix decay, beta;   // [value heads, width]
    WeightVector convolution, a, dt_bias, norm;
    WeightMatrix output;
};

struct StateSpaceWeights {
    WeightMatrix inputs;  // the gate, then x, B and C, then dt
    WeightVector convolution;
    std::optional<WeightVector> convolution_bias, norm;
    WeightVector a, dt_bias, d;
    WeightMatrix output;
};

struct ShortConvolutionWeights {
    WeightMatrix inputs;  // [3 * width, width]: the first gate, the second, and what they gate
    WeightVector convolution;
    WeightMatrix output;
};

struct DenseFfn {
    WeightMatrix gate, up, down;
    std::optional<WeightVector> gate_bias, up_bias, down_bias;
};

struct MixtureFfn {
    WeightMatrix router;
    std::optional<WeightVector> router_bias;     // of the logits
    std::optional<WeightVector> selection_bias;  // of the scores, for the choice alone
    WeightStack gate, up, down;
    std::optional<WeightVector> gate_bias, up_bias, down_bias;  // [experts, width of the result]
    DenseFfn shared;
    WeightMatrix shared_gate;             // [1, width]
    WeightMatrix latent_down, latent_up;  // into and out of the width in which experts work
};

// A norm of the residual stream or of a branch; without a weight there is none.
struct StreamNorm {
    std::optional<WeightVector> weight, bias;
};

// Added to the embeddings where the config has them: ModelConfig::token_types, position_rows.
struct InputTables {
    WeightMatrix types, positions;
};

struct DecoderLayer {
    StreamNorm mixer_norm, mixer_post_norm;  // in front of and behind the branch
    std::variant<AttentionWeights, LatentWeights, DeltaWeights, StateSpaceWeights, ShortConvolutionWeights, NoBranch>
        mixer;
    StreamNorm ffn_norm, ffn_post_norm;
    std::variant<DenseFfn, MixtureFfn, NoBranch> ffn;
};

// Scratch that every layer of a pass reuses. It is sized for the widest layer; a part takes views with rows of its own
// width (Tensor::packed).
struct DecoderScratch {
    Tensor normed;  // [rows, width]
    Tensor branch;  // [rows, width], what a branch adds to the residual stream
    Tensor projected, query, key, value, attended;
    Tensor mixed, gates;            // of recurrences: behind the convolution, and the gates of heads
    Tensor gate, up;                // [rows, ffn width]
    Tensor expert_gate, expert_up;  // [slots, expert width]
    Tensor router;                  // [rows, experts]
    Tensor slots;                   // [slots, width of the experts' result]
    Tensor latent;                  // [rows, width in which experts work]
    Tensor shared, shared_gate;     // [rows, width] and [rows, 1]
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

    const LayerSpec& spec() const { return config.layers[static_cast<size_t>(layer)]; }
};

// residual += the vector of the first token type, then that of the row's position; `room` is overwritten.
void add_input_tables(Ops& ops, const ModelConfig& config, const InputTables& tables, const Batch& batch, Tensor room,
                      Tensor residual);

// y = the norm of x; RMSNorm or, where config.layer_norms, LayerNorm.
void run_norm(const LayerCall& call, std::string_view stage, Tensor x, const StreamNorm& norm, Tensor y);

// scratch.branch = the mixer's output for scratch.normed
void run_mixer(const LayerCall& call, const AttentionGeometry& spec, const AttentionWeights& weights);
void run_mixer(const LayerCall& call, const LatentGeometry& spec, const LatentWeights& weights);
void run_mixer(const LayerCall& call, const DeltaGeometry& spec, const DeltaWeights& weights);
void run_mixer(const LayerCall& call, const StateSpaceGeometry& spec, const StateSpaceWeights& weights);
void run_mixer(const LayerCall& call, const ShortConvolutionGeometry& spec, const ShortConvolutionWeights& weights);
// scratch.branch = the feed-forward part's output for scratch.normed
void run_ffn(const LayerCall& call, const DenseGeometry& spec, const DenseFfn& weights);
void run_ffn(const LayerCall& call, const MixtureGeometry& spec, const MixtureFfn& weights);
// The same, where the router reads rows of its own.
void run_ffn(const LayerCall& call, const MixtureGeometry& spec, const MixtureFfn& weights, Tensor router_input);

// scratch.branch = post norm(mixer(norm(residual))): what a family adds to the residual stream in its own way
void mixer_branch(const LayerCall& call, const DecoderLayer& weights, Tensor residual);
// scratch.branch = post norm(ffn(norm(residual))), likewise
void ffn_branch(const LayerCall& call, const DecoderLayer& weights, Tensor residual);
// residual += residual_scale * the branch; nothing for a layer without the part
void mixer_block(const LayerCall& call, const DecoderLayer& weights, Tensor residual);
void ffn_block(const LayerCall& call, const DecoderLayer& weights, Tensor residual);
// The head's logits of the rows `last`, with the model's scale and soft cap.
void make_logits(Ops& ops, const ModelConfig& config, const WeightMatrix& head, Tensor last, Tensor logits);

}  // namespace invar
