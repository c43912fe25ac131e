// The full description of a model: for every layer its mixer, its feed-forward part and their geometry, and the numbers
// of the whole model. It is read from a checkpoint or the checkpoint is refused (hyperparameters.h): nothing here has a
// silent default. blocks.cpp uses the numbers; visit_config() lists every number once.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "arithmetic/activation.h"
#include "arithmetic/recurrence.h"
#include "arithmetic/rope.h"
#include "arithmetic/routing.h"
#include "base/result.h"
#include "ops/verb_call.h"
#include "state/sequence_state.h"

namespace invar {

// A mixer in which each position attends to others. docs/adding_a_model.md names the family of each option.
struct AttentionGeometry {
    int heads = 0;
    int kv_heads = 0;
    int key_width = 0;    // elements of a query or key of one head
    int value_width = 0;  // elements of a value of one head
    Reach reach = Reach::causal;
    int window = 0;      // limits the reach (arithmetic/attention.h); 0: no limit
    int rope = -1;       // index into ModelConfig::ropes; -1: positions are not rotated
    float scale = 0;     // of the scores
    float softcap = 0;   // of the scores; 0: none
    bool gated = false;  // each head of the query projection is followed by a gate, whose sigmoid multiplies the result
    bool sinks = false;  // a logit of each head takes part in the softmax
    bool values_are_keys = false;  // the values are the keys before norm and rope; there is no projection of values
    bool unit_values = false;      // values are normalised per head, without a weight
    bool unit_queries_and_keys = false;  // queries and keys are normalised per head, without a weight
    bool norms_behind_rope = false;      // norms of queries and keys, if there are any, follow rope
    // The layer whose keys and values are attended; this layer has none of its own. -1: its own.
    int shares = -1;
    PositionScale temperature = {};  // of queries behind rope; beta 0: none
};

// Multi-head latent attention: keys and values are linear in a small vector that is cached in their place.
struct LatentGeometry {
    int heads = 0;
    int query_rank = 0;   // of the query's two projections; 0: it has one
    int latent = 0;       // elements of the cached vector
    int plain_width = 0;  // elements of a query or key that are not rotated
    int rope_width = 0;   // elements that are rotated, one key of them for all heads; cached beside the vector
    int value_width = 0;
    int rope = -1;
    float scale = 0;
    float inner_epsilon = 0;  // of the norms between the two projections
};

// A gated delta net: a causal convolution, then a recurrence that overwrites what a key recalls.
struct DeltaGeometry {
    RecurrenceHeads heads;
    int taps = 0;             // of the convolution
    float scale = 0;          // of queries
    float inner_epsilon = 0;  // of the norm of queries and keys
};

// Mamba 2: a causal convolution, then a recurrence that decays.
struct StateSpaceGeometry {
    RecurrenceHeads heads;  // key heads are the groups, the key width is that of a state
    int taps = 0;
};

// A causal convolution between two gates, each an input of its own: LFM2. It has a channel for each element of the
// model's width.
struct ShortConvolutionGeometry {
    int taps = 0;
};

// No mixer, or no feed-forward part: the layer has one branch less.
struct NoBranch {};

struct DenseGeometry {
    int64_t width = 0;
    ActivationSpec activation = {};
    bool gated = true;  // the activation of one projection times another; else of the only one
};

struct MixtureGeometry {
    int experts = 0;
    int64_t width = 0;  // of one expert
    RouteSpec route;
    bool weighs_inputs = false;  // an expert's weight multiplies what it reads, not its result
    ActivationSpec activation = {};
    bool gated = true;
    int64_t latent = 0;         // the width in which experts work; 0: that of the model
    int64_t shared_width = 0;   // of the expert that every token takes, too; 0: there is none
    bool shared_gated = false;  // its result is multiplied by the sigmoid of a number of its own
};

struct LayerSpec {
    std::variant<AttentionGeometry, LatentGeometry, DeltaGeometry, StateSpaceGeometry, ShortConvolutionGeometry,
                 NoBranch>
        mixer;
    std::variant<DenseGeometry, MixtureGeometry, NoBranch> ffn;
    float norm_epsilon = 0;

    // Null if the layer has another kind.
    const AttentionGeometry* attention() const { return std::get_if<AttentionGeometry>(&mixer); }
    const LatentGeometry* latent() const { return std::get_if<LatentGeometry>(&mixer); }
    const DeltaGeometry* delta() const { return std::get_if<DeltaGeometry>(&mixer); }
    const StateSpaceGeometry* state_space() const { return std::get_if<StateSpaceGeometry>(&mixer); }
    const ShortConvolutionGeometry* short_convolution() const { return std::get_if<ShortConvolutionGeometry>(&mixer); }
    const DenseGeometry* dense() const { return std::get_if<DenseGeometry>(&ffn); }
    const MixtureGeometry* mixture() const { return std::get_if<MixtureGeometry>(&ffn); }
    bool has_mixer() const { return !std::holds_alternative<NoBranch>(mixer); }
    bool has_ffn() const { return !std::holds_alternative<NoBranch>(ffn); }
};

// Tensors that a checkpoint may have and that the model does not use. "*" in the pattern matches any text.
struct UnusedTensors {
    std::string pattern;  // of names: "model.layers.46.*"
    std::string because;  // a clause: "a layer that predicts further tokens, which is not computed"
};

// What a model gives for a row.
enum class ModelResult : uint8_t {
    logits,  // of the next token, [vocabulary]
    hidden,  // the row behind the last norm, [width], of which embeddings are made; the head is not computed
};

struct ModelConfig {
    std::string architecture;  // "qwen3moe"
    std::string name;          // general.name, or the checkpoint's name
    int64_t vocabulary = 0;
    int64_t width = 0;  // of the residual stream
    ModelResult result = ModelResult::logits;
    int64_t context_length = 0;    // the model was trained for
    float norm_epsilon = 0;        // of the last norm
    bool layer_norms = false;      // norms of the residual stream are LayerNorms, not RMSNorms
    bool sums_normalised = false;  // the norm behind a branch is one of its sum with the residual stream, as in BERT
    bool parallel = false;         // the feed-forward part reads a norm of the layer's input: its own or the mixer's
    float embedding_scale = 1;     // multiplies the embeddings; each is left out where it is 1
    float residual_scale = 1;      // what a branch adds to the residual stream
    float logit_scale = 1;         // the logits
    float logit_softcap = 0;       // of the logits, behind the scale; 0: none
    int64_t position_rows = 0;     // of the table of learned positions, added to the embeddings; 0: there is none
    int64_t token_types = 0;       // kinds of tokens with a vector each, of which all have the first added; 0: none
    int64_t per_layer_width = 0;   // of the vector of a token that each layer takes besides (Gemma 4); 0: there is none
    std::vector<RopeSpec> ropes;
    std::vector<LayerSpec> layers;
    std::vector<std::string> notes;         // numbers that did not come from the expected key, and why that is safe
    std::vector<std::string> tensors_read;  // tensors whose numbers are in this config
    std::vector<UnusedTensors> tensors_unused;

    int64_t result_width() const { return result == ModelResult::hidden ? width : vocabulary; }

    bool sees_both_ways() const;  // some layer does: a text is computed in one pass

    // What a sequence keeps for each layer. Layers without keys, or without a recurrence, have zeros.
    std::vector<KvGeometry> kv_geometry() const;
    std::vector<RecurrenceGeometry> recurrences() const;  // empty if no layer has one
    StateGeometry state_geometry(CacheType type, std::vector<Place> places = {}) const;
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
