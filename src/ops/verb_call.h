// One call of a verb as a value: the verb (verbs.h), its place in the model, its inputs and the place of its result.
// Models make calls through Ops (ops.h), backends compute them, observers read and change them. A call owns nothing:
// the data it points to lives as long as the pass.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "arithmetic/activation.h"
#include "arithmetic/recurrence.h"
#include "arithmetic/rope.h"
#include "arithmetic/routing.h"
#include "ops/batch.h"
#include "ops/tensor.h"
#include "ops/verbs.h"
#include "ops/weight.h"
#include "state/sequence_state.h"

namespace invar {

// The place in the model where a verb is called: the stable name of its result in traces and errors.
struct Stage {
    int layer = -1;         // -1: not in a layer
    std::string_view name;  // "attention_norm", "query", "residual_after_attention"; points to static text
};

struct AttentionCall {
    int layer = 0;  // of the KV cache
    int heads = 0;  // of the query; heads / kv_heads of them share a key
    float scale = 0;
    float softcap = 0;  // 0: none
};

// The factor of a row by its position: 1 + beta ln(1 + floor((position + offset) / length)), so 1 at first.
struct PositionScale {
    double beta = 0;
    int64_t length = 0;
    int64_t offset = 0;  // added to the position before the division
    bool operator==(const PositionScale&) const = default;
};

inline constexpr int kMostTaps = 16;  // of a convolution

// A convolution over the last inputs of each channel, or one step of a recurrence.
struct RecurrenceCall {
    int layer = 0;  // of the sequence state
    int taps = 0;   // of causal_convolution, at most kMostTaps
    RecurrenceHeads heads;
    Activation activation = Activation::silu;  // of what causal_convolution makes: silu or identity
};

// Which row of its table embed takes for a row of the batch.
enum class TableRow : uint8_t { token, position, first /* the same for all */ };
inline bool has_known_activation(const RecurrenceCall& spec) {
    return spec.activation == Activation::silu || spec.activation == Activation::identity;
}

// Which row of x an expert slot reads.
enum class SlotInput : uint8_t { row_of_slot /* x has a row a token */, slot /* x has a row a slot */ };

// Fields that a verb does not use are empty. Hooks may change inputs in before() (fault injection does). `out` of a
// verb that works in place is also its `x`; backends read `out`.
struct VerbCall {
    Verb verb = Verb::embed;
    Stage stage;

    Tensor x;    // the first input: x, y, gate, logits, queries, keys or slots of the verb
    Tensor x2;   // the second: up, values, the branch that is added
    Tensor out;  // the result; for store_kv and route there is none
    const WeightMatrix* matrix = nullptr;
    const WeightStack* stack = nullptr;
    const WeightVector* vector = nullptr;
    // The second and third: a bias, the selection bias and the factors of a router, the numbers of a recurrence.
    const WeightVector* vector2 = nullptr;
    const WeightVector* vector3 = nullptr;
    float epsilon = 0;
    int64_t group = 0;                     // elements that a norm takes together
    float factor = 0;                      // of scale; the cap of softcap
    TableRow table_row = TableRow::token;  // of embed
    const RopeTable* rope = nullptr;
    const Batch* batch = nullptr;  // for embed, scale_by_position, and the verbs that use the sequence state
    std::optional<AttentionCall> attention;
    std::optional<ActivationSpec> activation;
    std::optional<PositionScale> position_scale;
    std::optional<RecurrenceCall> recurrence;
    std::optional<RouteSpec> route;
    ExpertSlots slots;        // made by route, read by the expert verbs
    bool unweighted = false;  // combine_experts: every slot counts as it is
    SlotInput slot_input = SlotInput::row_of_slot;
    int cache_layer = -1;                       // for the verbs that use the sequence state
    SequenceState* cache = nullptr;             // for those that change it: store_kv and the recurrences
    const SequenceState* cache_read = nullptr;  // for all of them
    std::span<const int32_t> gathered;          // for gather_rows

    // Filled for observers (proof/record/hooked_ops.h): the batch row to which each row of the result belongs. With
    // expert slots, slots_of_row() rows of `out` belong to each.
    int occurrence = 1;                  // of this (layer, stage name) in this pass, from 1
    const Batch* pass = nullptr;         // the batch of this pass, whatever before() put into `batch`
    std::span<const int32_t> pass_rows;  // indices into pass->rows; empty: row i is pass row i
    int64_t rows() const { return pass_rows.empty() ? pass->size() : static_cast<int64_t>(pass_rows.size()); }
    const BatchRow& row(int64_t i) const {
        return pass->rows[static_cast<size_t>(pass_rows.empty() ? i : pass_rows[static_cast<size_t>(i)])];
    }
    // The weight with which combine_experts takes a slot; the slots are the host's.
    float weight_of_slot(int64_t slot) const { return unweighted ? 1.0f : slots.weights[slot]; }
    int64_t slots_of_row() const { return out.rows() == 0 || rows() == 0 ? 1 : out.rows() / rows(); }

    // The row of its table that embed takes for a row of the batch.
    int64_t row_of_table(const BatchRow& row) const {
        if (table_row == TableRow::first) return 0;
        return table_row == TableRow::token ? row.token : row.position;
    }
    // The matrix it reads, or the first of its stack; nullptr if it has neither.
    const WeightMatrix* weights() const { return stack != nullptr ? &stack->first : matrix; }
    const Format* format() const { return weights() == nullptr ? nullptr : weights()->format; }
    // The place of its weight; the host for a call without one.
    Place weight_place() const {
        return weights() != nullptr ? weights()->place() : vector != nullptr ? vector->place : Place::host;
    }
};
// Names a call in errors: "linear of layer 3 query, q4_k [4096, 1024], for 8 rows".
std::string describe(const VerbCall& call);

// Sees every verb of a pass. after() may read results; hooks that inject faults or replay may overwrite them there.
class VerbHook {
  public:
    virtual ~VerbHook() = default;
    // What the hook looks at. If tensors are on a device, a hook that reads only results (`out`, slots, the cache, and
    // `x` of route and attention) in after() avoids copies of everything else, and a hook that looks only at calls
    // (verb, stage, weights, shapes, the batch) avoids all copies.
    enum class Looks : uint8_t { at_calls, at_results, at_everything };
    virtual Looks looks() const { return Looks::at_everything; }
    virtual void begin_pass() {}
    virtual void before(VerbCall& call) {}
    virtual void after(const VerbCall& call) {}
};

}  // namespace invar
