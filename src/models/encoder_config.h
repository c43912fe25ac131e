// Config of the encoders BERT, Nomic BERT and ModernBERT, and what they share: attention both ways, heads that share
// the width evenly, LayerNorms, hidden states as the result.
#pragma once

#include "models/decoder.h"
#include "models/read_config.h"

namespace invar {

// What differs between their layers. A rope comes from the config (read_rope).
struct EncoderRules {
    ActivationSpec activation;
    bool gated = false;
    bool rope = false;
};
// Makes the layers, which all see all positions, and the rope. Also checks that no key asks for a causal mask.
Result<void> read_encoder_layers(const Hyperparameters& keys, ModelConfig& config, const EncoderRules& rules);

// The rows of the table of token types, which the config may state too; 0: there is no table.
Result<int64_t> read_token_types(const Hyperparameters& keys);

// Heads for the model's training, which hidden states do not need: `patterns` of their tensors.
void leave_out_heads(ModelConfig& config, std::initializer_list<std::string_view> patterns);

// The norms behind the sums of a branch and the residual stream, without others in a layer or behind the last.
StreamNormNames sum_norms(const NormNames& embedding, const NormNames& mixer, const NormNames& ffn);

}  // namespace invar
