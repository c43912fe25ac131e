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

    // out[i] = table row of the i-th row's token, or of its position, or the first; decoded to binary32. Tokens and
    // positions of a batch have rows: the context is no longer than a table of positions.
    void embed(Stage stage, const WeightMatrix& table, const Batch& batch, Tensor out, TableRow row = TableRow::token) {
        run({.verb = Verb::embed, .stage = stage, .out = out, .matrix = &table, .table_row = row, .batch = &batch});
    }
    // law::rms_norm on each group of weight.size elements of a row (a row may hold several heads). x and y may be one.
    void rms_norm(Stage stage, Tensor x, const WeightVector& weight, float epsilon, Tensor y) {
        rms_norm_groups(stage, x, &weight, weight.size, epsilon, y);
    }
    // The same on each group of `group` elements; element i of a row is multiplied by weight i mod weight->size, or by
    // nothing without a weight. The size of the weight is a multiple of the group.
    void rms_norm_groups(Stage stage, Tensor x, const WeightVector* weight, int64_t group, float epsilon, Tensor y) {
        run({.verb = Verb::rms_norm,
             .stage = stage,
             .x = x,
             .out = y,
             .vector = weight,
             .epsilon = epsilon,
             .group = group});
    }
    // law::l2_norm on each group of `group` elements of a row. x and y may be one.
    void l2_norm(Stage stage, Tensor x, int64_t group, float epsilon, Tensor y) {
        run({.verb = Verb::l2_norm, .stage = stage, .x = x, .out = y, .epsilon = epsilon, .group = group});
    }
    // law::layer_norm on each group of weight.size elements of a row. Without a bias: nullptr. x and y may be one.
    void layer_norm(Stage stage, Tensor x, const WeightVector& weight, const WeightVector* bias, float epsilon,
                    Tensor y) {
        run({.verb = Verb::layer_norm,
             .stage = stage,
             .x = x,
             .out = y,
             .vector = &weight,
             .vector2 = bias,
             .epsilon = epsilon,
             .group = weight.size});
    }
    // y[t, r] = the dot law of row r of the weight and row t of x.
    void linear(Stage stage, const WeightMatrix& weight, Tensor x, Tensor y) {
        run({.verb = Verb::linear, .stage = stage, .x = x, .out = y, .matrix = &weight});
    }
    // y[t, i] = y[t, i] + bias[i]
    void add_bias(Stage stage, Tensor y, const WeightVector& bias) {
        run({.verb = Verb::add_bias, .stage = stage, .x = y, .out = y, .vector = &bias});
    }
    // law::rope on every head of every row, at the row's position. In place. x may have several rows for each of the
    // batch (Tensor::pieces).
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
    // sinks: [spec.heads], or nullptr.
    void attention(Stage stage, const AttentionCall& spec, const Batch& batch, Tensor queries,
                   const SequenceState& cache, Tensor out, const WeightVector* sinks = nullptr) {
        run({.verb = Verb::attention,
             .stage = stage,
             .x = queries,
             .out = out,
             .vector = sinks,
             .batch = &batch,
             .attention = spec,
             .cache_layer = spec.layer,
             .cache_read = &cache});
    }
    // out = law::activate(gate, up), element by element. Without `up` (an empty tensor): law::activate(gate). out may
    // be gate or up.
    void activate(Stage stage, const ActivationSpec& spec, Tensor gate, Tensor up, Tensor out) {
        run({.verb = Verb::activate, .stage = stage, .x = gate, .x2 = up, .out = out, .activation = spec});
    }
    // x = x + y
    void add(Stage stage, Tensor x, Tensor y) { run({.verb = Verb::add, .stage = stage, .x = x, .x2 = y, .out = x}); }
    // x = x * factor
    void scale(Stage stage, Tensor x, float factor) {
        run({.verb = Verb::scale, .stage = stage, .x = x, .out = x, .factor = factor});
    }
    // Multiplies each row by law::position_scale of its position + spec.offset.
    void scale_by_position(Stage stage, const PositionScale& spec, const Batch& batch, Tensor x) {
        run({.verb = Verb::scale_by_position,
             .stage = stage,
             .x = x,
             .out = x,
             .batch = &batch,
             .position_scale = spec});
    }
    // x[r, i] = x[r, i] * weight[i mod weight.size]
    void multiply(Stage stage, Tensor x, const WeightVector& weight) {
        run({.verb = Verb::multiply, .stage = stage, .x = x, .out = x, .vector = &weight});
    }
    // x = law::softcap(x)
    void softcap(Stage stage, Tensor x, float cap) {
        run({.verb = Verb::softcap, .stage = stage, .x = x, .out = x, .factor = cap});
    }
    // x[r, i] = x[r, i] * sigmoid(gates[r, 0])
    void gate_rows(Stage stage, Tensor x, Tensor gates) {
        run({.verb = Verb::gate_rows, .stage = stage, .x = x, .x2 = gates, .out = x});
    }
    void copy(Stage stage, Tensor x, Tensor out) { run({.verb = Verb::copy, .stage = stage, .x = x, .out = out}); }
    // law::route on each row of logits. The selection bias and the factors, [experts], may be nullptr.
    void route(Stage stage, const RouteSpec& spec, Tensor logits, ExpertSlots routing,
               const WeightVector* selection_bias = nullptr, const WeightVector* factors = nullptr) {
        run({.verb = Verb::route,
             .stage = stage,
             .x = logits,
             .vector = selection_bias,
             .vector2 = factors,
             .route = spec,
             .slots = routing});
    }
    // y[slot, i] = y[slot, i] + bias[expert of the slot * y.width + i]; the bias is [experts, y.width].
    void add_slot_bias(Stage stage, const ExpertSlots& routing, Tensor y, const WeightVector& bias) {
        run({.verb = Verb::add_slot_bias, .stage = stage, .x = y, .out = y, .vector = &bias, .slots = routing});
    }
    // Row r of x and out belongs to head r mod heads.count: out[r] = the dot law of that head's matrix and x[r].
    void head_linear(Stage stage, const WeightStack& heads, Tensor x, Tensor out) {
        run({.verb = Verb::head_linear, .stage = stage, .x = x, .out = out, .stack = &heads});
    }
    // law::causal_convolution of each channel with the row's and the last taps - 1 rows of its sequence, then
    // law::activate of spec.activation. weight: [channels, taps]; bias: [channels] or nullptr. x and out: [rows,
    // channels], not the same. The state keeps the last inputs, [taps - 1][channels], the oldest first.
    void causal_convolution(Stage stage, const RecurrenceCall& spec, const Batch& batch, Tensor x,
                            const WeightVector& weight, const WeightVector* bias, SequenceState& cache, Tensor out) {
        VerbCall call = recurrence_call(Verb::causal_convolution, stage, spec, batch, x, {}, cache, out);
        call.vector = &weight;
        call.vector2 = bias;
        run(call);
    }
    // law::delta_step of every head. x: [rows, key heads * key width (queries), the same (keys), value heads * value
    // width], queries and keys normalised and scaled. gates: [rows, 2 value heads], the decays' arguments, then those
    // of beta, which is sigmoid of it. a, dt_bias: [value heads] (law::decay). The state is [value heads][key
    // width][value width].
    void delta_rule(Stage stage, const RecurrenceCall& spec, const Batch& batch, Tensor x, Tensor gates,
                    const WeightVector& a, const WeightVector& dt_bias, SequenceState& cache, Tensor out) {
        VerbCall call = recurrence_call(Verb::delta_rule, stage, spec, batch, x, gates, cache, out);
        call.vector = &a;
        call.vector2 = &dt_bias;
        run(call);
    }
    // law::state_space_step of every head. x: [rows, value heads * value width (x), key heads * key width (B), the same
    // (C)]. steps: [rows, value heads]; dt = softplus(step + dt_bias), decay = law::decay. a, dt_bias, d: [value
    // heads].
    void state_space(Stage stage, const RecurrenceCall& spec, const Batch& batch, Tensor x, Tensor steps,
                     const WeightVector& a, const WeightVector& dt_bias, const WeightVector& d, SequenceState& cache,
                     Tensor out) {
        VerbCall call = recurrence_call(Verb::state_space, stage, spec, batch, x, steps, cache, out);
        call.vector = &a;
        call.vector2 = &dt_bias;
        call.vector3 = &d;
        run(call);
    }
    // out[slot] = the dot law of the slot's expert and its row of x.
    void expert_linear(Stage stage, const WeightStack& experts, const ExpertSlots& routing, SlotInput input, Tensor x,
                       Tensor out) {
        run(expert_call(stage, experts, routing, input, x, out));
    }
    // out[slot] = x[row of the slot] * weight of the slot: what experts read whose input is weighed.
    void weigh_slots(Stage stage, const ExpertSlots& routing, Tensor x, Tensor out) {
        run({.verb = Verb::weigh_slots, .stage = stage, .x = x, .out = out, .slots = routing});
    }
    // y[row] = fma(weight_j, slots[row, j], y[row]) in rank order, from +0; with weight 1 if `unweighted`.
    void combine_experts(Stage stage, const ExpertSlots& routing, Tensor slots, Tensor y, bool unweighted = false) {
        run({.verb = Verb::combine_experts,
             .stage = stage,
             .x = slots,
             .out = y,
             .slots = routing,
             .unweighted = unweighted});
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
    static VerbCall recurrence_call(Verb verb, Stage stage, const RecurrenceCall& spec, const Batch& batch, Tensor x,
                                    Tensor x2, SequenceState& cache, Tensor out) {
        return {.verb = verb,
                .stage = stage,
                .x = x,
                .x2 = x2,
                .out = out,
                .batch = &batch,
                .recurrence = spec,
                .cache_layer = spec.layer,
                .cache = &cache,
                .cache_read = &cache};
    }
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
