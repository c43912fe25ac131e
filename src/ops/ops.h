// The verbs: everything that a model's forward pass may ask of a machine. Models are written in these functions only.
// Each makes a call (verb_call.h) and hands it to run(), which is all that a backend (cpu/, cuda/) or a decorator
// (observers, the split between machines) implements. verbs.h describes each verb. A verb never fails by return value:
// the first non-finite result is remembered and read by failure() after the pass.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>

#include "ops/verb_call.h"

namespace invar {

struct LinearJob {
    Stage stage;
    const WeightMatrix* weight;
    Tensor out;  // [x.rows, weight.rows]
};

// The first NaN or infinity of a pass.
struct NonFinite {
    std::string verb;
    Stage stage;
    int64_t row = 0, element = 0;
    float value = 0;
};

class Ops {
  public:
    virtual ~Ops() = default;

    // Returns scratch for this pass; its contents are undefined. begin_pass() takes everything back.
    virtual Tensor scratch(int64_t rows, int64_t width) = 0;
    virtual ExpertSlots scratch_slots(int64_t rows, int experts_per_row) = 0;
    virtual void begin_pass() = 0;
    virtual std::optional<NonFinite> failure() const = 0;

    // Computes one call. A verb, format or shape that the machine lacks is remembered and becomes an error of finish(),
    // which a plan checks after a pass without arithmetic (engine/engine_plan.cpp).
    virtual void run(const VerbCall& call) = 0;
    // Computes several calls of one verb, at most kMostTogether, which all have the x, the slots and the slot_input of
    // the first. A machine may compute them as one; the results are those of one call after the other.
    virtual void run_together(std::span<const VerbCall> calls) {
        for (const VerbCall& call : calls) run(call);
    }
    static constexpr size_t kMostTogether = 8;

    // ---- the functions that models call

    // out[i] = table row of the i-th row's token, decoded to binary32.
    void embed(Stage stage, const WeightMatrix& table, const Batch& batch, Tensor out) {
        run({.verb = Verb::embed, .stage = stage, .out = out, .matrix = &table, .batch = &batch});
    }
    // law::rms_norm on each group of weight.size elements of a row (a row may hold several heads). x and y may be one.
    void rms_norm(Stage stage, Tensor x, const WeightVector& weight, float epsilon, Tensor y) {
        run({.verb = Verb::rms_norm, .stage = stage, .x = x, .out = y, .vector = &weight, .epsilon = epsilon});
    }
    // y[t, r] = the dot law of row r of the weight and row t of x.
    void linear(Stage stage, const WeightMatrix& weight, Tensor x, Tensor y) {
        run({.verb = Verb::linear, .stage = stage, .x = x, .out = y, .matrix = &weight});
    }
    // y[t, i] = y[t, i] + bias[i]
    void add_bias(Stage stage, Tensor y, const WeightVector& bias) {
        run({.verb = Verb::add_bias, .stage = stage, .x = y, .out = y, .vector = &bias});
    }
    // law::rope on every head of every row, at the row's position. In place.
    void rope(Stage stage, const RopeTable& table, const Batch& batch, Tensor x) {
        run({.verb = Verb::rope, .stage = stage, .x = x, .out = x, .rope = &table, .batch = &batch});
    }
    // Rounds keys [rows, kv_heads * key_width] and values to the cache's type and stores them at the rows' positions.
    void store_kv(Stage stage, int layer, const Batch& batch, Tensor keys, Tensor values, SequenceState& cache) {
        run({.verb = Verb::store_kv,
             .stage = stage,
             .x = keys,
             .x2 = values,
             .batch = &batch,
             .cache_layer = layer,
             .cache = &cache,
             .cache_read = &cache});
    }
    // law::attention: each row sees positions 0 .. its own of its sequence (or its window), through the cache.
    void attention(Stage stage, const AttentionCall& spec, const Batch& batch, Tensor queries,
                   const SequenceState& cache, Tensor out) {
        run({.verb = Verb::attention,
             .stage = stage,
             .x = queries,
             .out = out,
             .batch = &batch,
             .attention = spec,
             .cache_layer = spec.layer,
             .cache_read = &cache});
    }
    // out = silu(gate) * up, element by element. out may be gate.
    void silu_multiply(Stage stage, Tensor gate, Tensor up, Tensor out) {
        run({.verb = Verb::silu_multiply, .stage = stage, .x = gate, .x2 = up, .out = out});
    }
    // x = x + y
    void add(Stage stage, Tensor x, Tensor y) { run({.verb = Verb::add, .stage = stage, .x = x, .x2 = y, .out = x}); }
    // Softmax over each row of logits, then law::top_k.
    void route(Stage stage, const RouteSpec& spec, Tensor logits, ExpertSlots routing) {
        run({.verb = Verb::route, .stage = stage, .x = logits, .route = spec, .slots = routing});
    }
    // out[slot] = the dot law of the slot's expert and its row of x.
    void expert_linear(Stage stage, const WeightStack& experts, const ExpertSlots& routing, SlotInput input, Tensor x,
                       Tensor out) {
        run(expert_call(stage, experts, routing, input, x, out));
    }
    // y[row] = fma(weight_j, slots[row, j], y[row]) in rank order, from +0.
    void combine_experts(Stage stage, const ExpertSlots& routing, Tensor slots, Tensor y) {
        run({.verb = Verb::combine_experts, .stage = stage, .x = slots, .out = y, .slots = routing});
    }
    // Takes the rows `rows` of x, in that order.
    void gather_rows(Stage stage, Tensor x, std::span<const int32_t> rows, Tensor out) {
        run({.verb = Verb::gather_rows, .stage = stage, .x = x, .out = out, .gathered = rows});
    }

    // Several products of one x, at most kMostTogether.
    void linear_many(std::span<const LinearJob> jobs, Tensor x) {
        CHECK(!jobs.empty() && jobs.size() <= kMostTogether, "a fused product has one to eight jobs");
        std::array<VerbCall, kMostTogether> calls;
        for (size_t i = 0; i < jobs.size(); ++i)
            calls[i] = {
                .verb = Verb::linear, .stage = jobs[i].stage, .x = x, .out = jobs[i].out, .matrix = jobs[i].weight};
        run_together(std::span(calls).first(jobs.size()));
    }
    // The products of two stacks with one x.
    void expert_linear_pair(Stage first_stage, const WeightStack& first, Tensor first_out, Stage second_stage,
                            const WeightStack& second, Tensor second_out, const ExpertSlots& routing, SlotInput input,
                            Tensor x) {
        const VerbCall calls[] = {expert_call(first_stage, first, routing, input, x, first_out),
                                  expert_call(second_stage, second, routing, input, x, second_out)};
        run_together(calls);
    }

    // ---- host access to results: the engine reads logits, observers read everything

    // If all memory is the host's, there is nothing to do. After to_host() the elements can be read through host(), the
    // slots' arrays, and keys() and values() of the cache (of the layer and the batch's sequences). from_host() says
    // that the host has changed them.
    virtual void to_host(Tensor x) {}
    virtual void from_host(Tensor x) {}
    virtual void to_host(const ExpertSlots& slots) {}
    virtual void from_host(const ExpertSlots& slots) {}
    virtual void to_host(const SequenceState& cache, int layer, const Batch& batch) {}
    virtual void from_host(const SequenceState& cache, int layer, const Batch& batch) {}
    // The weights as in the file; nothing if the host can read them directly.
    virtual std::optional<WeightMatrix> host_matrix(const WeightMatrix& weight) { return std::nullopt; }
    virtual std::optional<WeightStack> host_stack(const WeightStack& weight) { return std::nullopt; }
    virtual std::optional<WeightVector> host_vector(const WeightVector& weight) { return std::nullopt; }
    // Waits for the pass. A lost device is an error; its results are then void.
    virtual Result<void> finish() { return {}; }

  private:
    static VerbCall expert_call(Stage stage, const WeightStack& experts, const ExpertSlots& routing, SlotInput input,
                                Tensor x, Tensor out) {
        return {.verb = Verb::expert_linear,
                .stage = stage,
                .x = x,
                .out = out,
                .stack = &experts,
                .slots = routing,
                .slot_input = input};
    }
};

}  // namespace invar
