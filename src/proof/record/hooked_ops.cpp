#include "proof/record/hooked_ops.h"

#include <algorithm>

namespace invar {

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

VerbCall HookedOps::observed(const VerbCall& call) {
    const auto same = [&](const Stage& seen) { return seen.layer == call.stage.layer && seen.name == call.stage.name; };
    VerbCall shown = call;
    if (seen_.empty() && call.batch != nullptr) pass_ = *call.batch;  // the first verb of a pass has its batch
    if (!call.gathered.empty()) pass_rows_.assign(call.gathered.begin(), call.gathered.end());
    shown.occurrence = 1 + static_cast<int>(std::count_if(seen_.begin(), seen_.end(), same));
    shown.pass = &pass_;
    shown.pass_rows = pass_rows_;
    seen_.push_back(call.stage);
    return shown;
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
    for (const WeightVector** vector : {&call.vector, &call.vector2, &call.vector3})
        show(
            *vector, [&](const WeightVector& weight) { return inner_.host_vector(weight); }, vectors_);
}

void HookedOps::bring_tensors(const VerbCall& call) {
    for (const Tensor& tensor : {call.x, call.x2, call.out}) inner_.to_host(tensor);
    inner_.to_host(call.slots);
    if (call.cache_read != nullptr) inner_.to_host(*call.cache_read, call.cache_layer, *call.batch);
}

void HookedOps::take_back(const VerbCall& call) {
    for (const Tensor& tensor : {call.x, call.x2, call.out}) inner_.from_host(tensor);
    inner_.from_host(call.slots);
    if (call.cache_read != nullptr) inner_.from_host(*call.cache_read, call.cache_layer, *call.batch);
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
    // If no hook replaced a weight, the verb gets the loaded one again.
    if (call.matrix == shown.matrix) call.matrix = given.matrix;
    if (call.stack == shown.stack) call.stack = given.stack;
    if (call.vector == shown.vector) call.vector = given.vector;
    if (call.vector2 == shown.vector2) call.vector2 = given.vector2;
    if (call.vector3 == shown.vector3) call.vector3 = given.vector3;
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
    if (row_of(call.verb).makes(verb_field::slots)) inner_.to_host(call.slots);
    // Copies the keys and values that the verb stored, so that none need to be copied for attention. The stage of a
    // recurrence is its result, so its state stays where it is.
    if (row_of(call.verb).stages == StagesOf::stored) inner_.to_host(*call.cache_read, call.cache_layer, *call.batch);
}

void HookedOps::run(const VerbCall& given) {
    VerbCall call = observed(given);
    before(call);
    inner_.run(call);
    after(call);
}

void HookedOps::run_together(std::span<const VerbCall> given) {
    std::vector<VerbCall> calls;
    for (const VerbCall& one : given) before(calls.emplace_back(observed(one)));
    // The calls share an input, so a replacement that an observer gave one of them would reach all; it is undone.
    for (size_t i = 0; i < calls.size(); ++i) {
        calls[i].x = given[i].x;
        calls[i].slots = given[i].slots;
    }
    inner_.run_together(calls);
    for (const VerbCall& call : calls) after(call);
}

}  // namespace invar
