// The decoder that most families share: its weights listed, filled, and run. A family states here how its files name
// and hold weights (DecoderTraits), and in its config what its layers are made of. The parts of a layer are in
// blocks.h, the list of weights in decoder_weights.h.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "models/blocks.h"

namespace invar {

struct WeightNames {
    std::string_view role = {};          // "query"
    std::string_view gguf = {};          // "attn_q.weight", behind "blk.N." for a weight of a layer
    std::string_view hugging_face = {};  // "self_attn.q_proj.weight", likewise (tensor_names.h)
};

// A norm of the residual stream. Without a role there is none. The bias is that of LayerNorms.
struct NormNames {
    WeightNames weight, bias;
};
struct StreamNormNames {
    NormNames mixer = {{"attention_norm", "attn_norm.weight", "input_layernorm.weight"},
                       {"attention_norm_bias", "attn_norm.bias", "input_layernorm.bias"}};
    NormNames mixer_post = {};  // behind the branch
    NormNames ffn = {{"ffn_norm", "ffn_norm.weight", "post_attention_layernorm.weight"},
                     {"ffn_norm_bias", "ffn_norm.bias", "post_attention_layernorm.bias"}};
    NormNames ffn_post = {};
    NormNames embedding = {};  // of the embeddings
    NormNames output = {{"output_norm", "output_norm.weight", "norm.weight"},
                        {"output_norm_bias", "output_norm.bias", "norm.bias"}};
};

// Tables whose rows are added to the embeddings. A family has them if its config says so.
struct InputTableNames {
    WeightNames types = {"token_types", "token_types.weight", "embeddings.token_type_embeddings.weight"};
    WeightNames positions = {"positions", "position_embd.weight", "wpe.weight"};
};

// The names in which Hugging Face's files hold attention; those of GGUF are the same for all families.
struct AttentionNames {
    std::string_view query = "self_attn.q_proj.weight", key = "self_attn.k_proj.weight";
    std::string_view value = "self_attn.v_proj.weight", output = "self_attn.o_proj.weight";
    std::string_view fused = "self_attn.qkv_proj.weight";  // queries, keys and values in one tensor
    std::string_view query_bias = "self_attn.q_proj.bias", key_bias = "self_attn.k_proj.bias";
    std::string_view value_bias = "self_attn.v_proj.bias", output_bias = "self_attn.o_proj.bias";
    std::string_view query_norm = "self_attn.q_norm.weight", key_norm = "self_attn.k_norm.weight";
    std::string_view sinks = "self_attn.sinks";
    std::string_view fused_bias = {};  // the biases of `fused`
};

// Of Mamba 2.
struct StateSpaceNames {
    std::string_view inputs = "mixer.in_proj.weight", output = "mixer.out_proj.weight";
    std::string_view convolution = "mixer.conv1d.weight", convolution_bias = "mixer.conv1d.bias";
    std::string_view a = "mixer.A_log", dt_bias = "mixer.dt_bias", d = "mixer.D", norm = "mixer.norm.weight";
};

struct DenseNames {
    WeightNames gate = {"gate", "ffn_gate.weight", "mlp.gate_proj.weight"};
    WeightNames up = {"up", "ffn_up.weight", "mlp.up_proj.weight"};
    WeightNames down = {"down", "ffn_down.weight", "mlp.down_proj.weight"};
    // Biases, taken where they are; without roles there are none.
    WeightNames gate_bias = {}, up_bias = {}, down_bias = {};
    // Tensors with the rows of gate and then of up; "": there is none.
    std::string_view gguf_fused = {}, hugging_face_fused = {};
};

// A part of two matrices and their biases, by Hugging Face's names; those of GGUF are the same for all families.
constexpr DenseNames ungated_dense(std::string_view up, std::string_view up_bias, std::string_view down,
                                   std::string_view down_bias) {
    return {.up = {"up", "ffn_up.weight", up},
            .down = {"down", "ffn_down.weight", down},
            .up_bias = {"up_bias", "ffn_up.bias", up_bias},
            .down_bias = {"down_bias", "ffn_down.bias", down_bias}};
}

// The names in which Hugging Face's files hold a mixture; "{}" is the number of an expert.
struct MixtureNames {
    std::string_view router = "mlp.gate.weight", router_bias = "mlp.gate.bias";
    std::string_view selection_bias = "mlp.gate.e_score_correction_bias";
    std::string_view gate = "mlp.experts.{}.gate_proj.weight", up = "mlp.experts.{}.up_proj.weight";
    std::string_view down = "mlp.experts.{}.down_proj.weight";
    // All experts in one tensor: gate and then up, and down; "": there is none.
    std::string_view fused = "mlp.experts.gate_up_proj", down_fused = "mlp.experts.down_proj";
    std::string_view latent_down = "mixer.fc1_latent_proj.weight", latent_up = "mixer.fc2_latent_proj.weight";
    DenseNames shared = {{"shared_gate", "ffn_gate_shexp.weight", "mlp.shared_expert.gate_proj.weight"},
                         {"shared_up", "ffn_up_shexp.weight", "mlp.shared_expert.up_proj.weight"},
                         {"shared_down", "ffn_down_shexp.weight", "mlp.shared_expert.down_proj.weight"}};
    std::string_view shared_gate = "mlp.shared_expert_gate.weight";
};

// How the files of a family name and hold its weights.
struct DecoderTraits {
    bool attention_biases = false;        // query, key and value biases are wanted; else they are taken where they are
    bool output_biases = false;           // attention's output bias likewise
    bool other_biases = false;            // biases of norms and of dense parts likewise
    bool head_norms = false;              // norms of each head's query and key are wanted
    bool whole_norms = false;             // norms of all heads' queries and keys together are wanted
    bool norms_less_one = false;          // Hugging Face's files hold the weights of norms less one
    bool gguf_rope_neighbours = false;    // GGUF files store query and key rows so that rope's pairs are neighbours
    bool fused_by_group = false;          // Hugging Face's fused tensor has the queries of a KV head, its key and its
                                          // value, one KV head after the other
    bool stored_by_column = false;        // Hugging Face's files hold the matrices of layers transposed, as GPT-2 does
    bool delta_fused = false;             // the projections of a gated delta net are one tensor, ordered by key head
    bool experts_interleaved = false;     // Hugging Face's files interleave the rows of gate and up, as gpt-oss does
    bool experts_by_column = false;       // Hugging Face's tensors of all experts hold them by column, as Llama 4's do
    bool expert_biases = false;           // experts and their router have biases
    bool selection_biases = false;        // a router with sigmoids has a bias of the choice; else it may have it
    bool softmax_selection_bias = false;  // a router with softmax has it, too, held as a matrix of one row: ERNIE
    WeightNames expert_factors = {};      // a factor for each expert's result (HeldAs::factors)
    bool head = true;                     // the model makes logits; encoders give hidden states
    bool first_mixer_norm = true;         // the first layer has a norm in front of its mixer, as the others have
    StreamNormNames norms = {};
    InputTableNames input_tables = {};
    AttentionNames attention = {};
    StateSpaceNames state_space = {};
    DenseNames dense = {};
    MixtureNames mixture = {};
};
// Lists every weight of a decoder made of these parts. Optional weights are taken if the checkpoint has them.
std::vector<WantedWeight> declare_decoder(const ModelConfig& config, const Checkpoint& checkpoint,
                                          const DecoderTraits& traits);

// A decoder of these parts with a final norm and head. The traits are those of declare_decoder(); without them they are
// such as change no role.
Result<std::unique_ptr<Model>> build_decoder(const ModelConfig& config, const WeightSource& weights,
                                             const DecoderTraits& traits);
Result<std::unique_ptr<Model>> build_decoder(const ModelConfig& config, const WeightSource& weights);

// Architecture::declare and ::build of a family whose traits are the same for all its models.
template <DecoderTraits (*traits)()>
std::vector<WantedWeight> declare_with(const ModelConfig& config, const Checkpoint& checkpoint) {
    return declare_decoder(config, checkpoint, traits());
}
template <DecoderTraits (*traits)()>
Result<std::unique_ptr<Model>> build_with(const ModelConfig& config, const WeightSource& weights) {
    return build_decoder(config, weights, traits());
}

}  // namespace invar
