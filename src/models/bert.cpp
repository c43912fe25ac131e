// Architecture "bert": BERT and the sentence encoders that are made of it.
// The embedding is the sum of a token's vector, the first token type's and its position's, normalised. Attention sees
// both ways. Behind each branch stands a LayerNorm of its sum with the residual stream; there is no other. GELU is the
// exact one. The result are the hidden states.
#include "files/printable.h"
#include "models/architectures.h"
#include "models/encoder_config.h"

namespace invar {
namespace {

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    const Hyperparameters keys(checkpoint);
    TRY_ASSIGN(ModelConfig config, read_model_config(keys, {.architecture = "bert",
                                                            .activation = "gelu",
                                                            .epsilon = "layer norm epsilon",
                                                            .computes = {"position_embedding_type"},
                                                            .layer_norms = true}));
    if (keys.has("kind of positions")) {
        TRY_ASSIGN(const std::string kind, keys.text("kind of positions"));
        if (kind != "absolute") {
            return fail(ErrorKind::unsupported, "{}: {} is '{}', but only absolute is supported for this architecture",
                        keys.file(), keys.spell("kind of positions"), printable(kind));
        }
    }
    config.sums_normalised = true;
    config.position_rows = config.context_length;
    TRY_ASSIGN(config.token_types, read_token_types(keys));
    TRY(read_encoder_layers(keys, config, {.activation = {.kind = Activation::gelu}}));
    leave_out_heads(config, {"*pooler.*", "cls.*"});
    config.tensors_unused.push_back({"*embeddings.position_ids", "the numbers of positions"});
    return config;
}

DecoderTraits traits() {
    DecoderTraits traits{.attention_biases = true, .output_biases = true, .other_biases = true, .head = false};
    traits.norms = sum_norms({{"embedding_norm", "token_embd_norm.weight", "embeddings.LayerNorm.weight"},
                              {"embedding_norm_bias", "token_embd_norm.bias", "embeddings.LayerNorm.bias"}},
                             {{"attention_sum_norm", "attn_output_norm.weight", "attention.output.LayerNorm.weight"},
                              {"attention_sum_norm_bias", "attn_output_norm.bias", "attention.output.LayerNorm.bias"}},
                             {{"ffn_sum_norm", "layer_output_norm.weight", "output.LayerNorm.weight"},
                              {"ffn_sum_norm_bias", "layer_output_norm.bias", "output.LayerNorm.bias"}});
    traits.input_tables.positions.hugging_face = "embeddings.position_embeddings.weight";
    traits.attention.query = "attention.self.query.weight";
    traits.attention.key = "attention.self.key.weight";
    traits.attention.value = "attention.self.value.weight";
    traits.attention.output = "attention.output.dense.weight";
    traits.attention.query_bias = "attention.self.query.bias";
    traits.attention.key_bias = "attention.self.key.bias";
    traits.attention.value_bias = "attention.self.value.bias";
    traits.attention.output_bias = "attention.output.dense.bias";
    traits.dense = ungated_dense("intermediate.dense.weight", "intermediate.dense.bias", "output.dense.weight",
                                 "output.dense.bias");
    return traits;
}

}  // namespace

const Architecture kBertArchitecture{.name = "bert",
                                     .summary = "BERT",
                                     .model_types = {"bert"},
                                     .read_config = read_config,
                                     .declare = declare_with<traits>,
                                     .build = build_with<traits>};

}  // namespace invar
