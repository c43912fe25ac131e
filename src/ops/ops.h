// The verbs: everything a model's forward pass may ask of a machine. Models are written in these words only; a backend
// (cpu/, cuda/) implements them; a decorator (plan, recorder) forwards them. Each verb equals the law it cites.
// A verb never fails by return value: the first non-finite result is remembered and read by failure() after the pass.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "arithmetic/rope.h"
#include "ops/batch.h"
#include "ops/tensor.h"
#include "ops/weight.h"
#include "state/kv_cache.h"

namespace invar {

// Where in the model a verb is called: the stable name of its result in traces and errors.
struct Stage {
    int layer = -1;         // -1: not in a layer
    std::string_view name;  // "attention_norm", "query", "residual_after_attention"; points to static text
};

struct LinearJob {
    Stage stage;
    const WeightMatrix* weight;
    Tensor out;  // [x.rows, weight.rows]
};

struct AttentionCall {
    int layer = 0;  // of the KV cache
    int heads = 0;  // of the query; heads / kv_heads of them share a key
    float scale = 0;
    float softcap = 0;  // 0: none
};

struct RouteSpec {
    int experts_per_row = 0;
    bool renormalise = true;
};

// Which row of x an expert slot reads.
enum class SlotInput : uint8_t { row_of_slot /* x has a row a token */, slot /* x has a row a slot */ };

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

    // Scratch for this pass; contents undefined. Everything is given back by begin_pass().
    virtual Tensor scratch(int64_t rows, int64_t width) = 0;
    virtual ExpertSlots scratch_slots(int64_t rows, int experts_per_row) = 0;
    virtual void begin_pass() = 0;
    virtual std::optional<NonFinite> failure() const = 0;

    // out[i] = table row of the i-th row's token, decoded to binary32.
    virtual void embed(Stage stage, const WeightMatrix& table, const Batch& batch, Tensor out) = 0;
    // law::rms_norm on each group of weight.size elements of a row (a row may hold several heads). x and y may be one.
    virtual void rms_norm(Stage stage, Tensor x, const WeightVector& weight, float epsilon, Tensor y) = 0;
    // y[t, r] = the dot law of row r of the weight and row t of x.
    virtual void linear(Stage stage, const WeightMatrix& weight, Tensor x, Tensor y) = 0;
    // y[t, i] = y[t, i] + bias[i]
    virtual void add_bias(Stage stage, Tensor y, const WeightVector& bias) = 0;
    // law::rope on every head of every row, at the row's position. In place.
    virtual void rope(Stage stage, const RopeTable& table, const Batch& batch, Tensor x) = 0;
    // Rounds keys [rows, kv_heads * key_width] and values to the cache's type and stores them at the rows' positions.
    virtual void store_kv(Stage stage, int layer, const Batch& batch, Tensor keys, Tensor values, KvCache& cache) = 0;
    // law::attention: each row sees positions 0 .. its own of its sequence (or its window), through the cache.
    virtual void attention(Stage stage, const AttentionCall& spec, const Batch& batch, Tensor queries,
                           const KvCache& cache, Tensor out) = 0;
    // out = silu(gate) * up, element by element. out may be gate.
    virtual void silu_multiply(Stage stage, Tensor gate, Tensor up, Tensor out) = 0;
    // x = x + y
    virtual void add(Stage stage, Tensor x, Tensor y) = 0;
    // Softmax over each row of logits, then law::top_k.
    virtual void route(Stage stage, const RouteSpec& spec, Tensor logits, ExpertSlots routing) = 0;
    // out[slot] = the dot law of the slot's expert and its row of x.
    virtual void expert_linear(Stage stage, const WeightStack& experts, const ExpertSlots& routing, SlotInput input,
                               Tensor x, Tensor out) = 0;
    // y[row] = fma(weight_j, slots[row, j], y[row]) in rank order, from +0.
    virtual void combine_experts(Stage stage, const ExpertSlots& routing, Tensor slots, Tensor y) = 0;
    // Rows `rows` of x, in that order.
    virtual void gather_rows(Stage stage, Tensor x, std::span<const int32_t> rows, Tensor out) = 0;

    // Fused verbs: each equals its plain body here, bit for bit.
    virtual void linear_many(std::span<const LinearJob> jobs, Tensor x) {
        for (const LinearJob& job : jobs) linear(job.stage, *job.weight, x, job.out);
    }
    virtual void expert_linear_pair(Stage first_stage, const WeightStack& first, Tensor first_out, Stage second_stage,
                                    const WeightStack& second, Tensor second_out, const ExpertSlots& routing,
                                    SlotInput input, Tensor x) {
        expert_linear(first_stage, first, routing, input, x, first_out);
        expert_linear(second_stage, second, routing, input, x, second_out);
    }

    // For who reads or changes on the host what verbs made: an engine its logits, observers everything. Where all
    // memory is the host's there is nothing to do. to_host(): the elements can be read through host(), the slots'
    // arrays, and keys() and values() of the cache (of the layer and the batch's sequences). from_host(): the host has
    // changed them.
    virtual void to_host(Tensor x) {}
    virtual void from_host(Tensor x) {}
    virtual void to_host(const ExpertSlots& slots) {}
    virtual void from_host(const ExpertSlots& slots) {}
    virtual void to_host(const KvCache& cache, int layer, const Batch& batch) {}
    virtual void from_host(const KvCache& cache, int layer, const Batch& batch) {}
    // Weights as the file has them, for who reads them: nothing where the host can read them as they are.
    virtual std::optional<WeightMatrix> host_matrix(const WeightMatrix& weight) { return std::nullopt; }
    virtual std::optional<WeightStack> host_stack(const WeightStack& weight) { return std::nullopt; }
    virtual std::optional<WeightVector> host_vector(const WeightVector& weight) { return std::nullopt; }
    // Waits for the pass. A machine that was lost is an error; what it had computed is void.
    virtual Result<void> finish() { return {}; }
};

}  // namespace invar
