#include "proof/record/hooked_ops.h"

#include <algorithm>
#include <array>

namespace invar {

std::string_view verb_name(Verb verb) {
    constexpr std::array<std::string_view, 13> kNames = {
        "embed", "rms_norm", "linear",        "add_bias",        "rope",       "store_kv", "attention", "silu_multiply",
        "add",   "route",    "expert_linear", "combine_experts", "gather_rows"};
    return kNames[static_cast<size_t>(verb)];
}

HookedOps::HookedOps(Ops& inner, std::vector<VerbHook*> hooks) : inner_(inner), hooks_(std::move(hooks)) {
    for (const VerbHook* hook : hooks_) looks_ = std::max(looks_, hook->looks());
}

void HookedOps::begin_pass() {
    inner_.begin_pass();
    matrices_.clear();
    stacks_.clear();
    vectors_.clear();
    pass_rows_.clear();
    seen_.clear();
    for (VerbHook* hook : hooks_) hook->begin_pass();
}

VerbCall HookedOps::make(Verb verb, Stage stage) {
    const auto same = [&](const Stage& seen) { return seen.layer == stage.layer && seen.name == stage.name; };
    VerbCall call;
    call.verb = verb;
    call.stage = stage;
    call.occurrence = 1 + static_cast<int>(std::count_if(seen_.begin(), seen_.end(), same));
    call.pass = &pass_;
    call.pass_rows = pass_rows_;
    seen_.push_back(stage);
    return call;
}

void HookedOps::show_weights(VerbCall& call) {
    const auto show = [](const auto*& shown, auto&& on_host, auto& kept) {
        if (shown == nullptr) return;
        if (const auto view = on_host(*shown)) shown = &kept.emplace_back(*view);
    };
    show(
        call.matrix, [&](const WeightMatrix& weight) { return inner_.host_matrix(weight); }, matrices_);
    show(
        call.stack, [&](const WeightStack& weight) { return inner_.host_stack(weight); }, stacks_);
    show(
        call.vector, [&](const WeightVector& weight) { return inner_.host_vector(weight); }, vectors_);
}

void HookedOps::bring_tensors(const VerbCall& call) {
    for (const Tensor& tensor : {call.x, call.x2, call.out}) inner_.to_host(tensor);
    inner_.to_host(call.slots);
    if (call.cache_read != nullptr) inner_.to_host(*call.cache_read, call.stage.layer, *call.batch);
}

void HookedOps::take_back(const VerbCall& call) {
    for (const Tensor& tensor : {call.x, call.x2, call.out}) inner_.from_host(tensor);
    inner_.from_host(call.slots);
    if (call.cache_read != nullptr) inner_.from_host(*call.cache_read, call.stage.layer, *call.batch);
}

void HookedOps::before(VerbCall& call) {
    if (looks_ != VerbHook::Looks::at_everything) {
        for (VerbHook* hook : hooks_) hook->before(call);
        return;
    }
    const VerbCall given = call;
    bring_tensors(given);
    show_weights(call);
    const VerbCall shown = call;
    for (VerbHook* hook : hooks_) hook->before(call);
    take_back(given);
    // A weight that nobody replaced is the loaded one again.
    if (call.matrix == shown.matrix) call.matrix = given.matrix;
    if (call.stack == shown.stack) call.stack = given.stack;
    if (call.vector == shown.vector) call.vector = given.vector;
}

void HookedOps::after(const VerbCall& call) {
    if (looks_ == VerbHook::Looks::at_everything) {
        VerbCall shown = call;
        bring_tensors(call);
        show_weights(shown);
        for (VerbHook* hook : hooks_) hook->after(shown);
        take_back(call);
        return;
    }
    if (looks_ == VerbHook::Looks::at_results) bring_results(call);
    for (VerbHook* hook : hooks_) hook->after(call);
}

void HookedOps::bring_results(const VerbCall& call) {
    inner_.to_host(call.out);
    if (call.verb == Verb::route || call.verb == Verb::attention) inner_.to_host(call.x);
    if (call.verb == Verb::route) inner_.to_host(call.slots);
    // What attention reads was brought when it was stored.
    if (call.verb == Verb::store_kv) inner_.to_host(*call.cache_read, call.stage.layer, *call.batch);
}

void HookedOps::embed(Stage stage, const WeightMatrix& table, const Batch& batch, Tensor out) {
    pass_ = batch;  // the first verb of a pass that has the batch
    VerbCall call = make(Verb::embed, stage);
    call.matrix = &table;
    call.batch = &batch;
    call.out = out;
    before(call);
    inner_.embed(stage, *call.matrix, *call.batch, call.out);
    after(call);
}

void HookedOps::rms_norm(Stage stage, Tensor x, const WeightVector& weight, float epsilon, Tensor y) {
    VerbCall call = make(Verb::rms_norm, stage);
    call.x = x;
    call.vector = &weight;
    call.epsilon = epsilon;
    call.out = y;
    before(call);
    inner_.rms_norm(stage, call.x, *call.vector, call.epsilon, call.out);
    after(call);
}

void HookedOps::linear(Stage stage, const WeightMatrix& weight, Tensor x, Tensor y) {
    VerbCall call = make(Verb::linear, stage);
    call.x = x;
    call.matrix = &weight;
    call.out = y;
    before(call);
    inner_.linear(stage, *call.matrix, call.x, call.out);
    after(call);
}

void HookedOps::add_bias(Stage stage, Tensor y, const WeightVector& bias) {
    VerbCall call = make(Verb::add_bias, stage);
    call.x = y;
    call.vector = &bias;
    call.out = y;
    before(call);
    inner_.add_bias(stage, call.out, *call.vector);
    after(call);
}

void HookedOps::rope(Stage stage, const RopeTable& table, const Batch& batch, Tensor x) {
    VerbCall call = make(Verb::rope, stage);
    call.x = x;
    call.rope = &table;
    call.batch = &batch;
    call.out = x;
    before(call);
    inner_.rope(stage, *call.rope, *call.batch, call.out);
    after(call);
}

void HookedOps::store_kv(Stage stage, int layer, const Batch& batch, Tensor keys, Tensor values, KvCache& cache) {
    VerbCall call = make(Verb::store_kv, stage);
    call.x = keys;
    call.x2 = values;
    call.batch = &batch;
    call.cache = &cache;
    call.cache_read = &cache;
    before(call);
    inner_.store_kv(stage, layer, *call.batch, call.x, call.x2, *call.cache);
    after(call);
}

void HookedOps::attention(Stage stage, const AttentionCall& spec, const Batch& batch, Tensor queries,
                          const KvCache& cache, Tensor out) {
    VerbCall call = make(Verb::attention, stage);
    call.x = queries;
    call.attention = &spec;
    call.batch = &batch;
    call.cache_read = &cache;
    call.out = out;
    before(call);
    inner_.attention(stage, *call.attention, *call.batch, call.x, *call.cache_read, call.out);
    after(call);
}

void HookedOps::silu_multiply(Stage stage, Tensor gate, Tensor up, Tensor out) {
    VerbCall call = make(Verb::silu_multiply, stage);
    call.x = gate;
    call.x2 = up;
    call.out = out;
    before(call);
    inner_.silu_multiply(stage, call.x, call.x2, call.out);
    after(call);
}

void HookedOps::add(Stage stage, Tensor x, Tensor y) {
    VerbCall call = make(Verb::add, stage);
    call.x = x;
    call.x2 = y;
    call.out = x;
    before(call);
    inner_.add(stage, call.out, call.x2);
    after(call);
}

void HookedOps::route(Stage stage, const RouteSpec& spec, Tensor logits, ExpertSlots routing) {
    VerbCall call = make(Verb::route, stage);
    call.x = logits;
    call.route = &spec;
    call.slots = routing;
    before(call);
    inner_.route(stage, *call.route, call.x, call.slots);
    after(call);
}

void HookedOps::expert_linear(Stage stage, const WeightStack& experts, const ExpertSlots& routing, SlotInput input,
                              Tensor x, Tensor out) {
    VerbCall call = make(Verb::expert_linear, stage);
    call.x = x;
    call.stack = &experts;
    call.slots = routing;
    call.slot_input = input;
    call.out = out;
    before(call);
    inner_.expert_linear(stage, *call.stack, call.slots, call.slot_input, call.x, call.out);
    after(call);
}

void HookedOps::combine_experts(Stage stage, const ExpertSlots& routing, Tensor slots, Tensor y) {
    VerbCall call = make(Verb::combine_experts, stage);
    call.x = slots;
    call.slots = routing;
    call.out = y;
    before(call);
    inner_.combine_experts(stage, call.slots, call.x, call.out);
    after(call);
}

void HookedOps::gather_rows(Stage stage, Tensor x, std::span<const int32_t> rows, Tensor out) {
    pass_rows_.assign(rows.begin(), rows.end());
    VerbCall call = make(Verb::gather_rows, stage);
    call.x = x;
    call.gathered = rows;
    call.out = out;
    before(call);
    inner_.gather_rows(stage, call.x, call.gathered, call.out);
    after(call);
}

void HookedOps::linear_many(std::span<const LinearJob> jobs, Tensor x) {
    std::vector<VerbCall> calls;
    std::vector<LinearJob> given;
    for (const LinearJob& job : jobs) {
        VerbCall& call = calls.emplace_back(make(Verb::linear, job.stage));
        call.x = x;
        call.matrix = job.weight;
        call.out = job.out;
        before(call);
        given.push_back({.stage = job.stage, .weight = call.matrix, .out = call.out});
    }
    inner_.linear_many(given, x);
    for (const VerbCall& call : calls) after(call);
}

void HookedOps::expert_linear_pair(Stage first_stage, const WeightStack& first, Tensor first_out, Stage second_stage,
                                   const WeightStack& second, Tensor second_out, const ExpertSlots& routing,
                                   SlotInput input, Tensor x) {
    VerbCall calls[2] = {make(Verb::expert_linear, first_stage), make(Verb::expert_linear, second_stage)};
    calls[0].stack = &first;
    calls[0].out = first_out;
    calls[1].stack = &second;
    calls[1].out = second_out;
    for (VerbCall& call : calls) {
        call.x = x;
        call.slots = routing;
        call.slot_input = input;
        before(call);
    }
    inner_.expert_linear_pair(first_stage, *calls[0].stack, calls[0].out, second_stage, *calls[1].stack, calls[1].out,
                              routing, input, x);
    for (const VerbCall& call : calls) after(call);
}

}  // namespace invar
