// Products: which kernel multiplies which rows for which tokens on which thread. Activations are prepared once in each
// form that a call needs. The row groups of all jobs are one list of items that threads claim. The kernels: linear.h.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "cpu/cpu_ops.h"
#include "cpu/linear.h"

namespace invar {
namespace {

// The fewest items per thread: more of them balance better, fewer keep reads long. The fewest rows per item: 64 rows
// are one block of the panel kernels.
constexpr int64_t kItemsOfAThread = 8;
constexpr int64_t kLeastRows = 64;
// How many tokens and rows of an expert are multiplied at once: their results wait in 144 KiB before they are
// scattered.
constexpr int64_t kExpertTokens = 144;
constexpr int64_t kMostExpertRows = 256;
constexpr size_t kMostExpertJobs = 2;

int64_t rounded_to_groups(int64_t rows) { return (rows + kRowGroup - 1) / kRowGroup * kRowGroup; }

// Rows per item, so that `rows` rows make about kItemsOfAThread items for each thread.
int64_t rows_of_item(int64_t rows, int threads) {
    return rounded_to_groups(std::max(kLeastRows, rows / (kItemsOfAThread * threads)));
}

// Splits `tokens` into calls of nearly equal size, at most `most` each (0: one call), in whole tiles of 1, 2, 3 or 6
// tokens.
int64_t tokens_of_call(int64_t tokens, int64_t most) {
    if (most == 0 || tokens <= most) return tokens;
    const int64_t calls = (tokens + most - 1) / most;
    return std::min(most, ((tokens + calls - 1) / calls + 5) / 6 * 6);
}

LinearProblem problem_of(const WeightMatrix& weight, int64_t tokens) {
    return {.format = weight.format->id,
            .form = weight.form,
            .rows = weight.rows,
            .columns = weight.columns,
            .tokens = tokens};
}

// The most bytes that a prepared row takes, whichever kernel is chosen for 1 to `tokens` tokens. The number of tokens
// per expert is not known before the pass.
int64_t most_activation_bytes(const WeightMatrix& weight, int64_t tokens, Isa highest, std::string_view forced) {
    int64_t most = 0;
    for (int64_t some = 1; some <= std::max<int64_t>(1, tokens); some *= 2) {
        const LinearKernel& kernel = choose_linear_kernel(problem_of(weight, some), highest, forced);
        most = std::max(most, activation_bytes(kernel.reads, weight.columns));
    }
    return most;
}

}  // namespace

// Prepares the rows of x in the arena; returns x itself if its rows already lie as the kernel reads them.
const std::byte* CpuOps::prepare(ActivationForm form, Tensor x) {
    const int64_t bytes = activation_bytes(form, x.width());
    const bool as_it_is = form == ActivationForm::rows && x.stride() * int64_t{sizeof(float)} == bytes;
    if (as_it_is) {
        if (measuring()) return nullptr;
        if (reinterpret_cast<uintptr_t>(x.host()) % Arena::kAlignment == 0) {
            return reinterpret_cast<const std::byte*>(x.host());
        }
    }
    std::byte* prepared = arena_.take<std::byte>(x.rows() * bytes);
    if (measuring()) return prepared;
    pool_.parallel_for(x.rows(), rows_for_a_thread(x.width()), [&](int64_t first, int64_t last, int) {
        for (int64_t row = first; row < last; ++row) {
            prepare_activations(form, highest_, x.host_row(row), x.width(), prepared + row * bytes);
        }
    });
    return prepared;
}

void CpuOps::multiply(std::span<const LinearJob> jobs, Tensor x) {
    CHECK(!jobs.empty() && jobs.size() <= kMostTogether, "a fused product has one to eight jobs");
    const ArenaScope scope(arena_);
    struct Planned {
        const LinearKernel* kernel = nullptr;
        const std::byte* activations = nullptr;
        RowItems rows;
        int64_t items_before = 0;
    };
    Planned planned[kMostTogether];
    Stage stages[kMostTogether];
    int64_t rows = 0;
    for (const LinearJob& job : jobs) rows += job.weight->rows;
    const int64_t rows_each = rows_of_item(rows, pool_.threads());
    int64_t items = 0;
    for (size_t i = 0; i < jobs.size(); ++i) {
        const LinearJob& job = jobs[i];
        const WeightMatrix& weight = *job.weight;
        CHECK(weight.columns == x.width() && job.out.width() == weight.rows && job.out.rows() == x.rows(),
              "y = W x needs matching shapes");
        stages[i] = job.stage;
        planned[i].kernel = &choose_linear_kernel(problem_of(weight, x.rows()), highest_, forced_linear_);
        record_use(Verb::linear, weight.format->name, x.rows(), planned[i].kernel->name);
        const auto same_form = [&](const Planned& other) { return other.kernel->reads == planned[i].kernel->reads; };
        const Planned* earlier = std::find_if(planned, planned + i, same_form);
        planned[i].activations = earlier != planned + i ? earlier->activations : prepare(planned[i].kernel->reads, x);
        planned[i].rows = RowItems(pool_.row_homes(), weight.rows, rows_each);
        planned[i].items_before = items;
        items += planned[i].rows.count();
    }
    std::byte* worker_scratch = arena_.take<std::byte>(kLinearScratchBytes * pool_.threads());
    if (measuring()) return;

    const auto job_of = [&](int64_t item) {
        size_t i = jobs.size() - 1;
        while (planned[i].items_before > item) --i;
        return i;
    };
    const auto home_of = [&](int64_t item) {
        const Planned& job = planned[job_of(item)];
        return job.rows.at(item - job.items_before).home;
    };
    pool_.parallel_items(items, home_of, [&](int64_t item, int worker) {
        const size_t i = job_of(item);
        const WeightMatrix& weight = *jobs[i].weight;
        const Tensor out = jobs[i].out;
        const auto [home, first_row, last_row] = planned[i].rows.at(item - planned[i].items_before);
        // As many tokens as the kernel takes at once, so that results are inspected while they are in the caches.
        const LinearKernel& kernel = *planned[i].kernel;
        const int64_t at_once = tokens_of_call(x.rows(), kernel.tokens_at_once);
        for (int64_t first = 0; first < x.rows(); first += at_once) {
            const int64_t tokens = std::min(at_once, x.rows() - first);
            kernel.run({.weight = &weight,
                        .activations = planned[i].activations + first * activation_bytes(kernel.reads, x.width()),
                        .tokens = tokens,
                        .out = out.host_row(first),
                        .out_stride = out.stride(),
                        .first_row = first_row,
                        .last_row = last_row,
                        .worker_scratch = worker_scratch + worker * kLinearScratchBytes});
            for (int64_t token = first; token < first + tokens; ++token) {
                const float* part = out.host_row(token) + first_row;
                inspect(worker, static_cast<int64_t>(i), token, first_row, part, last_row - first_row);
            }
        }
    });
    report_finding("linear", std::span<const Stage>(stages, jobs.size()));
}

// ---- experts

struct CpuOps::SlotOrder {
    int64_t slots = 0;
    int64_t experts = 0;
    int32_t* slot_at = nullptr;   // [slots]: slots by expert, rising within one
    int32_t* place_of = nullptr;  // [slots]: where a slot is in slot_at
    int32_t* first = nullptr;     // [experts + 1]: places of an expert's slots
    int32_t* active = nullptr;    // experts that have slots, rising
    int64_t actives = 0;
};

// A counting sort. It is stable, so that the order depends on the routing alone.
CpuOps::SlotOrder CpuOps::order_slots(const ExpertSlots& routing, int64_t experts) {
    SlotOrder order;
    order.slots = routing.rows * routing.experts_per_row;
    order.experts = experts;
    order.slot_at = arena_.take<int32_t>(order.slots);
    order.place_of = arena_.take<int32_t>(order.slots);
    order.first = arena_.take<int32_t>(experts + 1);
    order.active = arena_.take<int32_t>(experts);
    if (measuring()) return order;
    std::fill_n(order.first, experts + 1, 0);
    for (int64_t slot = 0; slot < order.slots; ++slot) {
        const int32_t expert = routing.experts[slot];
        CHECK(expert >= 0 && expert < experts, "routing names experts that exist");
        ++order.first[expert + 1];
    }
    for (int64_t expert = 0; expert < experts; ++expert) {
        if (order.first[expert + 1] > 0) order.active[order.actives++] = static_cast<int32_t>(expert);
        order.first[expert + 1] += order.first[expert];
    }
    for (int64_t slot = 0; slot < order.slots; ++slot) {
        const int32_t place =
            order.first[routing.experts[slot]]++;  // first[e] moves to the end of e, that is first[e + 1]
        order.slot_at[place] = static_cast<int32_t>(slot);
        order.place_of[slot] = place;
    }
    std::copy_backward(order.first, order.first + experts, order.first + experts + 1);
    order.first[0] = 0;
    return order;
}

// Prepares activations in the order of the places, so that an expert's tokens are contiguous.
const std::byte* CpuOps::prepare_slots(ActivationForm form, const SlotOrder& order, const ExpertSlots& routing,
                                       SlotInput input, Tensor x) {
    const int64_t bytes = activation_bytes(form, x.width());
    std::byte* prepared = arena_.take<std::byte>(order.slots * bytes);
    if (measuring()) return prepared;
    const int64_t copies = input == SlotInput::slot ? 1 : routing.experts_per_row;
    pool_.parallel_for(x.rows(), rows_for_a_thread(x.width() * 2), [&](int64_t first, int64_t last, int) {
        for (int64_t row = first; row < last; ++row) {
            std::byte* once = prepared + order.place_of[row * copies] * bytes;
            prepare_activations(form, highest_, x.host_row(row), x.width(), once);
            for (int64_t copy = 1; copy < copies; ++copy) {
                std::memcpy(prepared + order.place_of[row * copies + copy] * bytes, once, static_cast<size_t>(bytes));
            }
        }
    });
    return prepared;
}

struct CpuOps::ExpertPlan {
    SlotOrder order;
    const LinearKernel* kernels[kMostExpertJobs] = {};
    const std::byte* activations[kMostExpertJobs] = {};
    RowItems rows[kMostExpertJobs];  // of one expert
    // Results of several tokens wait in [tokens][rows of the item]. Kernels index by the row of the matrix; most_rows
    // of room before the place keeps "place minus first row" inside the allocation.
    float* waiting = nullptr;
    int64_t most_rows = 0;
    std::byte* worker_scratch = nullptr;

    int64_t worker_floats() const { return most_rows + kExpertTokens * kMostExpertRows; }

    struct Part {
        size_t job;
        int32_t expert;
        RowItems::Item rows;
    };
    Part rows_of(int64_t item) const {
        const int64_t items_of_first = rows[0].count() * order.actives;
        const size_t job = item < items_of_first ? 0 : 1;
        const int64_t of_job = item - (job == 0 ? 0 : items_of_first), each = rows[job].count();
        return {job, order.active[of_job / each], rows[job].at(of_job % each)};
    }
};

// Runs one job, or two that read the same rows of x.
void CpuOps::run_experts(Verb verb, std::span<const ExpertJob> jobs, const ExpertSlots& routing, SlotInput input,
                         Tensor x) {
    CHECK(!jobs.empty() && jobs.size() <= kMostExpertJobs, "experts are multiplied by one stack or by two");
    const int64_t slots = routing.rows * routing.experts_per_row;
    CHECK(x.rows() == (input == SlotInput::slot ? slots : routing.rows),
          "x has a row for each slot, or for each token");
    const ArenaScope scope(arena_);
    ExpertPlan plan;
    plan.order = order_slots(routing, jobs[0].experts->count);
    Stage stages[kMostExpertJobs];
    int64_t items = 0;
    for (size_t i = 0; i < jobs.size(); ++i) {
        const WeightMatrix& weight = jobs[i].experts->first;
        CHECK(weight.columns == x.width() && jobs[i].out.width() == weight.rows && jobs[i].out.rows() == slots &&
                  jobs[i].experts->count == plan.order.experts,
              "y = W x of a slot needs matching shapes");
        stages[i] = jobs[i].stage;
        plan.most_rows = std::max(plan.most_rows, weight.rows);
        // The kernel is chosen for the average number of tokens per expert.
        const int64_t tokens = std::max<int64_t>(1, slots / std::max<int64_t>(1, plan.order.actives));
        plan.kernels[i] = &choose_linear_kernel(problem_of(weight, tokens), highest_, forced_linear_);
        record_use(verb, weight.format->name, tokens, plan.kernels[i]->name);
        plan.rows[i] =
            RowItems(pool_.row_homes(), weight.rows,
                     std::min(kMostExpertRows, rows_of_item(weight.rows * plan.order.actives, pool_.threads())));
        items += plan.rows[i].count() * plan.order.actives;
        if (measuring()) {
            arena_.take<std::byte>(slots * most_activation_bytes(weight, slots, highest_, forced_linear_));
            continue;
        }
        const ActivationForm form = plan.kernels[i]->reads;
        const bool shared = i == 1 && form == plan.kernels[0]->reads;
        plan.activations[i] = shared ? plan.activations[0] : prepare_slots(form, plan.order, routing, input, x);
    }
    plan.waiting = arena_.take<float>(plan.worker_floats() * pool_.threads());
    plan.worker_scratch = arena_.take<std::byte>(kLinearScratchBytes * pool_.threads());
    if (measuring()) return;
    const auto home_of = [&](int64_t item) { return plan.rows_of(item).rows.home; };
    pool_.parallel_items(items, home_of, [&](int64_t item, int worker) { multiply_expert(plan, jobs, item, worker); });
    report_finding(verb_name(verb), std::span<const Stage>(stages, jobs.size()));
}

// An item is some rows of an expert that has slots. It multiplies the tokens a few at a time and scatters the results
// to the slots.
void CpuOps::multiply_expert(const ExpertPlan& plan, std::span<const ExpertJob> jobs, int64_t item, int worker) {
    const SlotOrder& order = plan.order;
    const auto [i, expert, part_rows] = plan.rows_of(item);
    const WeightMatrix weight = jobs[i].experts->at(expert);
    const int64_t bytes = activation_bytes(plan.kernels[i]->reads, weight.columns);
    const int64_t first_row = part_rows.first_row, rows = part_rows.last_row - first_row;
    float* place = plan.waiting + worker * plan.worker_floats() + plan.most_rows;
    for (int64_t at = order.first[expert]; at < order.first[expert + 1]; at += kExpertTokens) {
        const int64_t tokens = std::min(kExpertTokens, order.first[expert + 1] - at);
        plan.kernels[i]->run({.weight = &weight,
                              .activations = plan.activations[i] + at * bytes,
                              .tokens = tokens,
                              .out = place - first_row,
                              .out_stride = rows,
                              .first_row = first_row,
                              .last_row = first_row + rows,
                              .worker_scratch = plan.worker_scratch + worker * kLinearScratchBytes});
        for (int64_t token = 0; token < tokens; ++token) {
            const int64_t slot = order.slot_at[at + token];
            float* part = jobs[i].out.host_row(slot) + first_row;
            std::memcpy(part, place + token * rows, static_cast<size_t>(rows) * sizeof(float));
            inspect(worker, static_cast<int64_t>(i), slot, first_row, part, rows);
        }
    }
}

// Each head of a row is a slot of the expert that has its number.
void CpuOps::multiply_heads(const VerbCall& call) {
    const int64_t heads = call.stack->count, slots = call.x.rows();
    CHECK(heads > 0 && slots % heads == 0, "each row has all heads");
    const ArenaScope scope(arena_);
    const ExpertSlots routing{
        .rows = slots / heads, .experts_per_row = static_cast<int>(heads), .experts = arena_.take<int32_t>(slots)};
    for (int64_t slot = 0; slot < slots && !measuring(); ++slot)
        routing.experts[slot] = static_cast<int32_t>(slot % heads);
    const ExpertJob job{.stage = call.stage, .experts = call.stack, .out = call.out};
    run_experts(call.verb, std::span(&job, 1), routing, SlotInput::slot, call.x);
}

// ---- the bodies

std::span<const CpuOps::Body> CpuOps::product_bodies() {
    struct Products {
        static void linear(CpuOps& cpu, std::span<const VerbCall> calls) {
            LinearJob jobs[kMostTogether];
            for (size_t i = 0; i < calls.size(); ++i)
                jobs[i] = {.stage = calls[i].stage, .weight = calls[i].matrix, .out = calls[i].out};
            cpu.multiply(std::span(jobs).first(calls.size()), calls.front().x);
        }
        static void experts(CpuOps& cpu, std::span<const VerbCall> calls) {
            const VerbCall& first = calls.front();
            for (size_t done = 0; done < calls.size(); done += kMostExpertJobs) {
                ExpertJob jobs[kMostExpertJobs];
                const auto some = calls.subspan(done, std::min(kMostExpertJobs, calls.size() - done));
                for (size_t i = 0; i < some.size(); ++i)
                    jobs[i] = {.stage = some[i].stage, .experts = some[i].stack, .out = some[i].out};
                cpu.run_experts(first.verb, std::span(jobs).first(some.size()), first.slots, first.slot_input, first.x);
            }
        }
        static void heads(CpuOps& cpu, const VerbCall& call) { cpu.multiply_heads(call); }
        static void one_linear(CpuOps& cpu, const VerbCall& call) { linear(cpu, std::span(&call, 1)); }
        static void one_expert(CpuOps& cpu, const VerbCall& call) { experts(cpu, std::span(&call, 1)); }
    };
    static constexpr Body kBodies[] = {{Verb::linear, Products::one_linear, Products::linear},
                                       {Verb::expert_linear, Products::one_expert, Products::experts},
                                       {Verb::head_linear, Products::heads}};
    return kBodies;
}

}  // namespace invar
