// Architecture "nomic-bert": Nomic's BERT.
// As BERT with rope in place of learned positions, one projection of queries, keys and values, a gated feed-forward
// part with SiLU, and no biases but those of the norms.
#include "models/architectures.h"
#include "models/encoder_config.h"

namespace invar {
namespace {

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    const Hyperparameters keys(checkpoint);
    TRY_ASSIGN(ModelConfig config, read_model_config(keys, {.architecture = "nomic-bert",
                                                            .activation = "swiglu",
                                                            .epsilon = "layer norm epsilon",
                                                            .computes = {"causal"},
                                                            .layer_norms = true}));
    config.sums_normalised = true;
    TRY_ASSIGN(config.token_types, read_token_types(keys));
    TRY(read_encoder_layers(keys, config, {.activation = {.kind = Activation::silu}, .gated = true, .rope = true}));
    leave_out_heads(config, {"pooler.*", "cls.*"});
    return config;
}

DecoderTraits traits() {
    DecoderTraits traits{.head = false};
    traits.norms = sum_norms({{"embedding_norm", "token_embd_norm.weight", "emb_ln.weight"},
                              {"embedding_norm_bias", "token_embd_norm.bias", "emb_ln.bias"}},
                             {{"attention_sum_norm", "attn_output_norm.weight", "norm1.weight"},
                              {"attention_sum_norm_bias", "attn_output_norm.bias", "norm1.bias"}},
                             {{"ffn_sum_norm", "layer_output_norm.weight", "norm2.weight"},
                              {"ffn_sum_norm_bias", "layer_output_norm.bias", "norm2.bias"}});
    traits.attention.fused = "attn.Wqkv.weight";
    traits.attention.output = "attn.out_proj.weight";
    // fc11 is multiplied by the activation of fc12.
    traits.dense = {.gate = {"gate", "ffn_gate.weight", "mlp.fc12.weight"},
                    .up = {"up", "ffn_up.weight", "mlp.fc11.weight"},
                    .down = {"down", "ffn_down.weight", "mlp.fc2.weight"}};
    return traits;
}

}  // namespace

const Architecture kNomicBertArchitecture{.name = "nomic-bert",
                                          .summary = "Nomic BERT",
                                          .model_types = {"nomic_bert"},
                                          .read_config = read_config,
                                          .declare = declare_with<traits>,
                                          .build = build_with<traits>};

}  // namespace invar
