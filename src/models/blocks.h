// The parts that decoder models are made of, each written in verbs: attention with its norm, and a feed-forward part
// that is either dense or a mixture of experts. An absent weight has no value here, so it cannot be used by mistake.
#pragma once

#include <optional>
#include <variant>
#include <vector>

#include "models/architecture.h"

namespace invar {

struct AttentionWeights {
    WeightVector norm;
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
    AttentionWeights attention;
    WeightVector ffn_norm;
    std::variant<DenseFfn, MixtureFfn> ffn;
};

// Scratch that every layer of a pass reuses. Sized for the widest layer.
struct DecoderScratch {
    Tensor normed;  // [rows, width]
    Tensor branch;  // [rows, width], what a branch adds to the residual stream
    Tensor query, key, value, attended;
    Tensor gate, up;  // [rows, ffn width] or [slots, expert width]
    Tensor router;    // [rows, experts]
    Tensor slots;     // [slots, width]
    ExpertSlots routing;
};
DecoderScratch take_scratch(Ops& ops, const ModelConfig& config, int64_t rows);

// residual += attention(norm(residual))
void attention_block(Ops& ops, const ModelConfig& config, int layer, const AttentionWeights& weights,
                     const RopeTable& rope, const Batch& batch, KvCache& cache, const DecoderScratch& scratch,
                     Tensor residual);
// residual += ffn(norm(residual))
void ffn_block(Ops& ops, const ModelConfig& config, int layer, const DecoderLayer& weights,
               const DecoderScratch& scratch, Tensor residual);

// The weights of the parts above under GGUF's names "blk.N.*". What is optional is taken when the file has it.
struct DeclareOptions {
    bool attention_biases = false;  // query, key and value biases are wanted
    bool head_norms = false;        // query and key norms are wanted
};
std::vector<WantedWeight> declare_decoder(const ModelConfig& config, const GgufFile& file,
                                          const DeclareOptions& options);

// A decoder of these parts with a final norm and head: the forward pass of llama, qwen2, qwen3 and qwen3moe alike.
Result<std::unique_ptr<Model>> build_decoder(const ModelConfig& config, const WeightSource& weights);

}  // namespace invar
