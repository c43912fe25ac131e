// One call of a verb as an observer sees it: which verb, where in the model, what it is given, what it made, and which
// token of which sequence each row of the result belongs to. Observers never see how a backend fuses or splits calls.
// Made by HookedOps (hooked_ops.h) alone.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "ops/ops.h"

namespace invar {

enum class Verb : uint8_t {
    embed,
    rms_norm,
    linear,
    add_bias,
    rope,
    store_kv,
    attention,
    silu_multiply,
    add,
    route,
    expert_linear,
    combine_experts,
    gather_rows,
};
std::string_view verb_name(Verb verb);  // as in the enum and in Ops

// Fields that a verb does not have are empty. before() may change what is given (fault injection does); `out` of a verb
// that works in place is also its `x`.
struct VerbCall {
    Verb verb = Verb::embed;
    Stage stage;
    int occurrence = 1;  // of this (layer, stage name) in this pass, from 1

    Tensor x;    // the first input: x, y, gate, logits, queries, keys or slots of the verb
    Tensor x2;   // the second: up, values, the branch that is added
    Tensor out;  // the result; for store_kv and route there is none
    const WeightMatrix* matrix = nullptr;
    const WeightStack* stack = nullptr;
    const WeightVector* vector = nullptr;
    float epsilon = 0;
    const RopeTable* rope = nullptr;
    const Batch* batch = nullptr;  // of embed, rope, store_kv and attention
    const AttentionCall* attention = nullptr;
    const RouteSpec* route = nullptr;
    ExpertSlots slots;  // made by route, read by the expert verbs
    SlotInput slot_input = SlotInput::row_of_slot;
    KvCache* cache = nullptr;             // of store_kv
    const KvCache* cache_read = nullptr;  // of attention
    std::span<const int32_t> gathered;    // of gather_rows

    // Which batch row each row of the result belongs to. With expert slots, slots_of_row rows of `out` to each.
    const Batch* pass = nullptr;         // the batch of this pass, whatever before() put into `batch`
    std::span<const int32_t> pass_rows;  // indices into pass->rows; empty: row i is pass row i
    int64_t rows() const { return pass_rows.empty() ? pass->size() : static_cast<int64_t>(pass_rows.size()); }
    const BatchRow& row(int64_t i) const {
        return pass->rows[static_cast<size_t>(pass_rows.empty() ? i : pass_rows[static_cast<size_t>(i)])];
    }
    int64_t slots_of_row() const { return out.rows() == 0 || rows() == 0 ? 1 : out.rows() / rows(); }
};

// Sees every verb of a pass. Results may be read and, by those who inject or replay, overwritten in after().
class VerbHook {
  public:
    virtual ~VerbHook() = default;
    // What it looks at. Who only reads what a verb made (`out`, slots, the cache, and `x` of route and attention) in
    // after() spares the copies of everything else where tensors are on a device.
    // Who looks at calls alone (verb, stage, weights, shapes, the batch) spares them all.
    enum class Looks : uint8_t { at_calls, at_results, at_everything };
    virtual Looks looks() const { return Looks::at_everything; }
    virtual void begin_pass() {}
    virtual void before(VerbCall& call) {}
    virtual void after(const VerbCall& call) {}
};

}  // namespace invar
