// The common part of all verbs (scratch, the search for the first non-finite number, the record of kernels) and the
// verbs that work row by row. Products: cpu_ops_linear.cpp; rope, cache and attention: cpu_ops_attention.cpp.
#include "cpu/cpu_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <tuple>
#include <utility>

#include "arithmetic/elementary.h"
#include "arithmetic/norm.h"
#include "base/check.h"
#include "cpu/linear.h"

namespace invar {
namespace {

// A thread is woken for at least this many elements, about a microsecond of the cheapest verbs, which is the cost of a
// fork-join.
constexpr int64_t kElementsForAThread = 4096;
constexpr int64_t kPart = 1024;  // elements; parts of a row start at multiples of it

void check_same_shape(Tensor a, Tensor b) {
    CHECK(a.rows() == b.rows() && a.width() == b.width(), "the operands of an elementwise verb have one shape");
}

}  // namespace

ShapeClass shape_class(int64_t tokens) {
    return tokens <= 1 ? ShapeClass::one_token : tokens <= 8 ? ShapeClass::few_tokens : ShapeClass::many_tokens;
}

std::string_view shape_class_name(ShapeClass shape) {
    switch (shape) {
        case ShapeClass::one_token:
            return "1 token";
        case ShapeClass::few_tokens:
            return "2 to 8 tokens";
        case ShapeClass::many_tokens:
            return "more than 8 tokens";
    }
    return "unknown";
}

Result<std::unique_ptr<CpuOps>> CpuOps::create(const CpuOpsSettings& settings) {
    const LinearKernel* const forced = find_linear_kernel(settings.forced_linear);
    if (!settings.forced_linear.empty() && forced == nullptr) {
        std::string known;
        for (const LinearKernel& kernel : linear_kernels()) {
            known += known.empty() ? "" : ", ";
            known += kernel.name;
        }
        return fail("there is no linear kernel '{}'; the kernels are {}", settings.forced_linear, known);
    }
    if (forced != nullptr) {
        // `highest` does not imply it: a machine with AVX-512 may lack AVX-VNNI.
        const std::string missing = detect_isa().missing[static_cast<size_t>(forced->isa)];
        if (!missing.empty()) {
            return fail("linear kernel '{}' cannot run here: {}; name another or none", forced->name, missing);
        }
    }
    TRY_ASSIGN(Arena arena, settings.measuring ? Arena::measuring() : Arena::allocate(settings.scratch_bytes));
    return std::unique_ptr<CpuOps>(new CpuOps(settings, std::move(arena)));
}

CpuOps::CpuOps(const CpuOpsSettings& settings, Arena arena)
    : pool_(settings.pool),
      highest_(settings.highest),
      forced_linear_(settings.forced_linear),
      row_kernels_(choose_row_kernels(settings.highest)),
      attention_kernels_(choose_attention_kernels(settings.highest)),
      arena_(std::move(arena)),
      findings_(static_cast<size_t>(settings.pool.threads())) {}

// ---- the common part of all verbs

Tensor CpuOps::scratch(int64_t rows, int64_t width) {
    return {arena_.take<float>(rows * width), Place::host, rows, width, width};
}

ExpertSlots CpuOps::scratch_slots(int64_t rows, int experts_per_row) {
    ExpertSlots routing;
    routing.rows = rows;
    routing.experts_per_row = experts_per_row;
    routing.experts = arena_.take<int32_t>(rows * experts_per_row);
    routing.weights = arena_.take<float>(rows * experts_per_row);
    routing.margins = arena_.take<float>(rows);
    return routing;
}

void CpuOps::begin_pass() {
    arena_.give_back_to(0);
    rope_angles_.clear();
    failure_.reset();
}

int64_t CpuOps::rows_for_a_thread(int64_t elements_of_row) {
    return std::max<int64_t>(1, kElementsForAThread / std::max<int64_t>(1, elements_of_row));
}

void CpuOps::inspect(int worker, int64_t job, int64_t row, int64_t first_element, const float* x, int64_t n) {
    if (failure_) return;  // only the first of a pass is wanted
    const int64_t place = row_kernels_.first_non_finite(x, n);
    if (place < 0) return;
    Finding& finding = findings_[static_cast<size_t>(worker)];
    const int64_t element = first_element + place;
    if (finding.found && std::tie(finding.job, finding.row, finding.element) <= std::tie(job, row, element)) return;
    finding = {.found = true, .job = job, .row = row, .element = element, .value = x[place]};
}

void CpuOps::report_finding(std::string_view verb, std::span<const Stage> stage_of_job) {
    const Finding* first = nullptr;
    for (const Finding& finding : findings_) {
        if (!finding.found) continue;
        if (first == nullptr ||
            std::tie(finding.job, finding.row, finding.element) < std::tie(first->job, first->row, first->element)) {
            first = &finding;
        }
    }
    if (first == nullptr) return;
    if (!failure_) {
        failure_ = NonFinite{.verb = std::string(verb),
                             .stage = stage_of_job[static_cast<size_t>(first->job)],
                             .row = first->row,
                             .element = first->element,
                             .value = first->value};
    }
    std::fill(findings_.begin(), findings_.end(), Finding{});
}

void CpuOps::record_use(Verb of, std::string_view format, int64_t tokens, std::string_view kernel) {
    const ShapeClass shape = shape_class(tokens);
    const std::string_view verb = verb_name(of);
    const KernelUse use{.verb = verb, .format = format, .shape = shape, .kernel = kernel};
    // Names are static text, so the same call has the same pointers: comparing these takes about 2 ns per entry, the
    // texts 10.
    const auto same_text = [&](const KernelUse& known) {
        return known.verb.data() == verb.data() && known.kernel.data() == kernel.data() &&
               known.format.data() == format.data() && known.shape == shape;
    };
    if (std::find_if(kernels_used_.begin(), kernels_used_.end(), same_text) != kernels_used_.end()) return;
    if (std::find(kernels_used_.begin(), kernels_used_.end(), use) == kernels_used_.end()) kernels_used_.push_back(use);
}

void CpuOps::for_each_part(int64_t rows, int64_t width, PartBody body) {
    const int64_t parts_of_row = (width + kPart - 1) / kPart;
    pool_.parallel_for(rows * parts_of_row, kElementsForAThread / kPart, [&](int64_t first, int64_t last, int worker) {
        while (first < last) {
            const int64_t row = first / parts_of_row;
            const int64_t end = std::min(last, (row + 1) * parts_of_row);
            const int64_t start_element = (first - row * parts_of_row) * kPart;
            const int64_t end_element = std::min(width, (end - row * parts_of_row) * kPart);
            body(row, start_element, end_element - start_element, worker);
            first = end;
        }
    });
}

// ---- finding the body that computes a call

const CpuOps::Body* CpuOps::body_of(Verb verb) {
    static const VerbTable<Body> kTable({row_bodies(), product_bodies(), position_bodies(), recurrence_bodies()});
    return kTable.find(verb);
}

void CpuOps::run(const VerbCall& call) {
    const Body* body = body_of(call.verb);
    if (body != nullptr) return body->run(*this, call);
    if (lacking_) lacking_ = fail(ErrorKind::unsupported, "the CPU has no kernel for {}", describe(call));
}

void CpuOps::run_together(std::span<const VerbCall> calls) {
    const Body* body = body_of(calls.front().verb);
    if (body == nullptr || body->run_together == nullptr) return Ops::run_together(calls);
    body->run_together(*this, calls);
}

// ---- the verbs that work row by row

namespace {

struct Ranked {
    int32_t expert = 0;
    float probability = 0;
};

// Ranks like law::top_k into `ranked` (room for k + 1), without allocation. Returns the margin between the last chosen
// and the first left out.
float rank_experts(const float* probabilities, int64_t experts, int k, Ranked* ranked) {
    int count = 0;
    for (int64_t i = 0; i < experts; ++i) {
        // Indices rise, so an equal probability ranks behind those already there.
        int place = count;
        while (place > 0 && ranked[place - 1].probability < probabilities[i]) --place;
        if (place > k) continue;
        count = std::min(count + 1, k + 1);
        for (int j = count - 1; j > place; --j) ranked[j] = ranked[j - 1];
        ranked[place] = {static_cast<int32_t>(i), probabilities[i]};
    }
    const float last = ranked[k - 1].probability;
    return experts > k ? last - ranked[k].probability : last;
}

// law::route of one row, in memory that is given.
struct RouterRow {
    const RouteSpec& spec;
    const float *bias = nullptr, *factors = nullptr;
    int64_t experts = 0;
    float* scores = nullptr;   // [2 * experts + groups]: scores, then ranks, then those of groups
    Ranked* ranked = nullptr;  // room for the most of k, groups_used and 2, and one

    // Returns the margin.
    float choose(const RowKernels& kernels, const float* logits, int32_t* chosen, float* weights) const {
        make_scores(kernels, logits);
        float* ranks = scores;
        if (bias != nullptr || spec.groups > 1) {
            ranks = scores + experts;
            for (int64_t i = 0; i < experts; ++i) ranks[i] = bias == nullptr ? scores[i] : scores[i] + bias[i];
        }
        if (spec.groups > 1) leave_out_groups(ranks);
        const int k = spec.experts_per_row;
        float margin = rank_experts(ranks, experts, k, ranked);
        if (margin == std::numeric_limits<float>::infinity()) margin = ranked[k - 1].probability;
        for (int j = 0; j < k; ++j) {
            chosen[j] = ranked[j].expert;
            weights[j] = scores[chosen[j]];
        }
        weigh(kernels, chosen, weights);
        return margin;
    }

  private:
    void make_scores(const RowKernels& kernels, const float* logits) const {
        switch (spec.scoring) {
            case RouteSpec::Scoring::softmax:
                return kernels.softmax(logits, experts, scores);
            case RouteSpec::Scoring::softmax_of_chosen:
            case RouteSpec::Scoring::sigmoid_of_chosen:
                std::copy_n(logits, experts, scores);
                return;
            case RouteSpec::Scoring::sigmoid:
                return kernels.activate({.kind = Activation::sigmoid}, logits, nullptr, experts, scores);
        }
    }
    void leave_out_groups(float* ranks) const {
        const int64_t size = experts / spec.groups;
        const int best_of = spec.group_score == RouteSpec::GroupScore::best || size == 1 ? 1 : 2;
        float* group_scores = scores + 2 * experts;
        for (int64_t group = 0; group < spec.groups; ++group) {
            rank_experts(ranks + group * size, size, best_of, ranked);
            group_scores[group] = ranked[0].probability;
            if (best_of == 2) group_scores[group] = group_scores[group] + ranked[1].probability;
        }
        rank_experts(group_scores, spec.groups, spec.groups_used, ranked);
        for (int64_t group = 0; group < spec.groups; ++group) {
            const bool used =
                std::any_of(ranked, ranked + spec.groups_used, [&](const Ranked& one) { return one.expert == group; });
            if (!used) std::fill_n(ranks + group * size, size, -std::numeric_limits<float>::infinity());
        }
    }
    void weigh(const RowKernels& kernels, const int32_t* chosen, float* weights) const {
        const int k = spec.experts_per_row;
        if (spec.scoring == RouteSpec::Scoring::softmax_of_chosen) {
            kernels.softmax(weights, k, weights);
            return scale(chosen, weights);
        }
        if (spec.scoring == RouteSpec::Scoring::sigmoid_of_chosen)
            kernels.activate({.kind = Activation::sigmoid}, weights, nullptr, k, weights);
        if (spec.renormalise) {
            float total = weights[0];
            for (int j = 1; j < k; ++j) total = total + weights[j];
            if (spec.sum_floor != 0) total = total + spec.sum_floor;
            for (int j = 0; j < k; ++j) weights[j] = weights[j] / total;
        }
        scale(chosen, weights);
    }
    void scale(const int32_t* chosen, float* weights) const {
        for (int j = 0; j < spec.experts_per_row; ++j) {
            if (spec.factor != 1) weights[j] = weights[j] * spec.factor;
            if (factors != nullptr) weights[j] = weights[j] * factors[chosen[j]];
        }
    }
};

}  // namespace

struct CpuOps::RowVerbs {
    static void embed(CpuOps& cpu, const VerbCall& call) {
        const WeightMatrix& table = *call.matrix;
        const Batch& batch = *call.batch;
        const Tensor out = call.out;
        CHECK(out.rows() == batch.size() && out.width() == table.columns,
              "an embedding has a row for each row of the batch");
        const ArenaScope scope(cpu.arena_);
        const int64_t row_bytes = table.format->row_bytes(table.columns);
        const int64_t worker_bytes = Arena::rounded(row_bytes);
        std::byte* unpacked = cpu.arena_.take<std::byte>(worker_bytes * cpu.pool_.threads());
        if (cpu.measuring()) return;
        cpu.pool_.parallel_for(
            batch.size(), cpu.rows_for_a_thread(table.columns), [&](int64_t first, int64_t last, int worker) {
                for (int64_t row = first; row < last; ++row) {
                    const int64_t from = call.row_of_table(batch.rows[static_cast<size_t>(row)]);
                    CHECK(from >= 0 && from < table.rows, "tokens and positions were checked before the pass");
                    const std::byte* stored = table.data + from * row_bytes;
                    if (table.form == StoredForm::rows4) {
                        std::byte* place = unpacked + worker * worker_bytes;
                        unpack_row(*table.format, table.data, table.rows, table.columns, from, place);
                        stored = place;
                    }
                    float* decoded = out.host_row(row);
                    table.format->decode(stored, table.columns, decoded);
                    if (table.scale != 1.0f) cpu.row_kernels_.scale(decoded, table.scale, table.columns);
                    if (table.row_scales != nullptr)
                        cpu.row_kernels_.scale(decoded, table.row_scales[from], table.columns);
                    cpu.inspect(worker, 0, row, 0, decoded, table.columns);
                }
            });
        cpu.report_finding(call);
    }

    static void rms_norm(CpuOps& cpu, const VerbCall& call) {
        const WeightVector* weight = call.vector;
        const int64_t group = call.group;
        CHECK(weight == nullptr || weight->size % group == 0, "a weight of a norm has whole groups");
        normalise(cpu, call, [&](const float* x, int64_t element, float* y) {
            const float* factors = weight == nullptr ? nullptr : weight->data + element % weight->size;
            cpu.row_kernels_.rms_norm(x, factors, group, call.epsilon, y);
        });
    }

    static void l2_norm(CpuOps& cpu, const VerbCall& call) {
        normalise(cpu, call,
                  [&](const float* x, int64_t, float* y) { cpu.row_kernels_.l2_norm(x, call.group, call.epsilon, y); });
    }

    static void layer_norm(CpuOps& cpu, const VerbCall& call) {
        const float* bias = call.vector2 == nullptr ? nullptr : call.vector2->data;
        normalise(cpu, call, [&](const float* x, int64_t, float* y) {
            cpu.row_kernels_.layer_norm(x, call.vector->data, bias, call.group, call.epsilon, y);
        });
    }

    // Calls norm(x, element of the row, y) for each group of call.group elements.
    template <class Norm>
    static void normalise(CpuOps& cpu, const VerbCall& call, const Norm& norm) {
        const Tensor x = call.x, y = call.out;
        const int64_t group = call.group;
        check_same_shape(x, y);
        CHECK(group > 0 && x.width() % group == 0, "a row is a whole number of normalised groups");
        cpu.record_use(call.verb, "", x.rows(), cpu.row_kernels_.name);
        if (cpu.measuring()) return;
        const int64_t groups = x.width() / group;
        cpu.pool_.parallel_for(x.rows() * groups, cpu.rows_for_a_thread(group),
                               [&](int64_t first, int64_t last, int worker) {
                                   for (int64_t item = first; item < last; ++item) {
                                       const int64_t row = item / groups, element = item % groups * group;
                                       float* normalised = y.host_row(row) + element;
                                       norm(x.host_row(row) + element, element, normalised);
                                       cpu.inspect(worker, 0, row, element, normalised, group);
                                   }
                               });
        cpu.report_finding(call);
    }

    static void add_bias(CpuOps& cpu, const VerbCall& call) {
        const Tensor y = call.out;
        const WeightVector& bias = *call.vector;
        CHECK(y.width() == bias.size, "a bias has an element for each of the row");
        cpu.record_use(call.verb, "", y.rows(), cpu.row_kernels_.name);
        if (cpu.measuring()) return;
        cpu.for_each_part(y.rows(), y.width(), [&](int64_t row, int64_t first, int64_t count, int worker) {
            float* part = y.host_row(row) + first;
            cpu.row_kernels_.add(part, bias.data + first, count);
            cpu.inspect(worker, 0, row, first, part, count);
        });
        cpu.report_finding(call);
    }

    // Calls part(row, first, count, out part) for parts of the rows of the result, and inspects what it made.
    template <class Part>
    static void element_by_element(CpuOps& cpu, const VerbCall& call, const Part& part) {
        const Tensor out = call.out;
        cpu.record_use(call.verb, "", out.rows(), cpu.row_kernels_.name);
        if (cpu.measuring()) return;
        cpu.for_each_part(out.rows(), out.width(), [&](int64_t row, int64_t first, int64_t count, int worker) {
            float* made = out.host_row(row) + first;
            part(row, first, count, made);
            cpu.inspect(worker, 0, row, first, made, count);
        });
        cpu.report_finding(call);
    }

    static void activate(CpuOps& cpu, const VerbCall& call) {
        const Tensor gate = call.x, up = call.x2;
        const ActivationSpec& spec = *call.activation;
        const bool has_up = up.rows() > 0;
        check_same_shape(gate, call.out);
        CHECK(has_up || spec.kind != Activation::clamped_swiglu, "a clamped SwiGLU has two operands");
        if (has_up) check_same_shape(gate, up);
        element_by_element(cpu, call, [&](int64_t row, int64_t first, int64_t count, float* out) {
            const float* y = has_up ? up.host_row(row) + first : nullptr;
            cpu.row_kernels_.activate(spec, gate.host_row(row) + first, y, count, out);
        });
    }

    static void scale(CpuOps& cpu, const VerbCall& call) {
        element_by_element(cpu, call, [&](int64_t, int64_t, int64_t count, float* x) {
            cpu.row_kernels_.scale(x, call.factor, count);
        });
    }

    static void scale_by_position(CpuOps& cpu, const VerbCall& call) {
        const Batch& batch = *call.batch;
        const PositionScale& spec = *call.position_scale;
        CHECK(call.out.rows() == batch.size(), "there is a row for each of the batch");
        element_by_element(cpu, call, [&](int64_t row, int64_t, int64_t count, float* x) {
            const int64_t position = batch.rows[static_cast<size_t>(row)].position;
            cpu.row_kernels_.scale(x, law::position_scale(spec.beta, spec.length, position + spec.offset), count);
        });
    }

    static void multiply(CpuOps& cpu, const VerbCall& call) {
        const WeightVector& weight = *call.vector;
        CHECK(weight.size > 0 && call.out.width() % weight.size == 0, "a row is a whole number of the weight");
        element_by_element(cpu, call, [&](int64_t, int64_t first, int64_t count, float* x) {
            if (weight.size == 1) return cpu.row_kernels_.scale(x, weight.data[0], count);
            while (count > 0) {  // up to the end of the weight, and again from its beginning
                const int64_t place = first % weight.size, some = std::min(count, weight.size - place);
                cpu.row_kernels_.multiply(x, weight.data + place, some);
                first += some, count -= some, x += some;
            }
        });
    }

    static void softcap(CpuOps& cpu, const VerbCall& call) {
        element_by_element(cpu, call, [&](int64_t, int64_t, int64_t count, float* x) {
            cpu.row_kernels_.softcap(x, call.factor, count);
        });
    }

    static void gate_rows(CpuOps& cpu, const VerbCall& call) {
        const Tensor gates = call.x2;
        CHECK(gates.rows() == call.out.rows() && gates.width() == 1, "a row has one gate");
        element_by_element(cpu, call, [&](int64_t row, int64_t, int64_t count, float* x) {
            cpu.row_kernels_.scale(x, law::sigmoid(gates.host_row(row)[0]), count);
        });
    }

    static void copy(CpuOps& cpu, const VerbCall& call) {
        const Tensor x = call.x;
        check_same_shape(x, call.out);
        element_by_element(cpu, call, [&](int64_t row, int64_t first, int64_t count, float* out) {
            std::memcpy(out, x.host_row(row) + first, static_cast<size_t>(count) * sizeof(float));
        });
    }

    static void add_slot_bias(CpuOps& cpu, const VerbCall& call) {
        const Tensor y = call.out;
        const ExpertSlots& routing = call.slots;
        const WeightVector& bias = *call.vector;
        CHECK(y.rows() == routing.rows * routing.experts_per_row && bias.size % y.width() == 0,
              "a bias has a row for each expert");
        element_by_element(cpu, call, [&](int64_t slot, int64_t first, int64_t count, float* part) {
            cpu.row_kernels_.add(part, bias.data + routing.experts[slot] * y.width() + first, count);
        });
    }

    static void add(CpuOps& cpu, const VerbCall& call) {
        const Tensor x = call.out, y = call.x2;
        check_same_shape(x, y);
        cpu.record_use(call.verb, "", x.rows(), cpu.row_kernels_.name);
        if (cpu.measuring()) return;
        cpu.for_each_part(x.rows(), x.width(), [&](int64_t row, int64_t first, int64_t count, int worker) {
            float* part = x.host_row(row) + first;
            cpu.row_kernels_.add(part, y.host_row(row) + first, count);
            cpu.inspect(worker, 0, row, first, part, count);
        });
        cpu.report_finding(call);
    }

    static void gather_rows(CpuOps& cpu, const VerbCall& call) {
        const Tensor x = call.x, out = call.out;
        const std::span<const int32_t> rows = call.gathered;
        CHECK(out.rows() == static_cast<int64_t>(rows.size()) && out.width() == x.width(),
              "one row of out for each index");
        if (cpu.measuring()) return;
        cpu.pool_.parallel_for(
            out.rows(), cpu.rows_for_a_thread(x.width()), [&](int64_t first, int64_t last, int worker) {
                for (int64_t row = first; row < last; ++row) {
                    const int64_t source = rows[static_cast<size_t>(row)];
                    CHECK(source >= 0 && source < x.rows(), "a gathered row exists");
                    std::memcpy(out.host_row(row), x.host_row(source), static_cast<size_t>(x.width()) * sizeof(float));
                    cpu.inspect(worker, 0, row, 0, out.host_row(row), x.width());
                }
            });
        cpu.report_finding(call);
    }

    static void route(CpuOps& cpu, const VerbCall& call) {
        const Tensor logits = call.x;
        const ExpertSlots& routing = call.slots;
        const RouteSpec& spec = *call.route;
        const int k = spec.experts_per_row;
        CHECK(k >= 1 && k <= logits.width(), "the loader refuses a model that chooses more experts than it has");
        CHECK(routing.rows == logits.rows() && routing.experts_per_row == k,
              "routing has k slots for each row of logits");
        CHECK(spec.groups >= 1 && logits.width() % spec.groups == 0, "groups of experts have one size");
        const ArenaScope scope(cpu.arena_);
        const int64_t experts = logits.width();
        const int64_t worker_floats = 2 * experts + spec.groups;
        float* all_scores = cpu.arena_.take<float>(worker_floats * cpu.pool_.threads());
        const int64_t most_ranked = std::max<int64_t>({k, spec.groups_used, 2}) + 1;
        Ranked* all_ranked = cpu.arena_.take<Ranked>(most_ranked * cpu.pool_.threads());
        cpu.record_use(call.verb, "", logits.rows(), cpu.row_kernels_.name);
        if (cpu.measuring()) return;
        cpu.pool_.parallel_for(
            logits.rows(), cpu.rows_for_a_thread(experts * 4), [&](int64_t first, int64_t last, int worker) {
                const RouterRow row_of{.spec = spec,
                                       .bias = call.vector == nullptr ? nullptr : call.vector->data,
                                       .factors = call.vector2 == nullptr ? nullptr : call.vector2->data,
                                       .experts = experts,
                                       .scores = all_scores + worker * worker_floats,
                                       .ranked = all_ranked + worker * most_ranked};
                for (int64_t row = first; row < last; ++row) {
                    routing.margins[row] = row_of.choose(cpu.row_kernels_, logits.host_row(row),
                                                         routing.experts + row * k, routing.weights + row * k);
                    cpu.inspect(worker, 0, row, 0, row_of.scores, experts);
                    cpu.inspect(worker, 0, row, experts, routing.weights + row * k, k);
                }
            });
        cpu.report_finding(call);
    }

    static void weigh_slots(CpuOps& cpu, const VerbCall& call) {
        const Tensor x = call.x;
        const ExpertSlots& routing = call.slots;
        const int64_t k = routing.experts_per_row;
        CHECK(x.rows() == routing.rows && call.out.rows() == routing.rows * k && x.width() == call.out.width(),
              "a slot reads its row");
        element_by_element(cpu, call, [&](int64_t slot, int64_t first, int64_t count, float* part) {
            std::memcpy(part, x.host_row(slot / k) + first, static_cast<size_t>(count) * sizeof(float));
            cpu.row_kernels_.scale(part, routing.weights[slot], count);
        });
    }

    static void combine_experts(CpuOps& cpu, const VerbCall& call) {
        const Tensor slots = call.x, y = call.out;
        const ExpertSlots& routing = call.slots;
        const int64_t k = routing.experts_per_row;
        CHECK(slots.rows() == routing.rows * k && y.rows() == routing.rows && slots.width() == y.width(),
              "there is a slot for each row and rank");
        cpu.record_use(call.verb, "", y.rows(), cpu.row_kernels_.name);
        if (cpu.measuring()) return;
        cpu.for_each_part(y.rows(), y.width(), [&](int64_t row, int64_t first, int64_t count, int worker) {
            float* part = y.host_row(row) + first;
            std::fill_n(part, count, 0.0f);
            for (int64_t j = 0; j < k; ++j) {
                const int64_t slot = row * k + j;
                cpu.row_kernels_.add_scaled(part, call.weight_of_slot(slot), slots.host_row(slot) + first, count);
            }
            cpu.inspect(worker, 0, row, first, part, count);
        });
        cpu.report_finding(call);
    }
};

std::span<const CpuOps::Body> CpuOps::row_bodies() {
    static constexpr Body kBodies[] = {
        {Verb::embed, RowVerbs::embed},
        {Verb::rms_norm, RowVerbs::rms_norm},
        {Verb::add_bias, RowVerbs::add_bias},
        {Verb::activate, RowVerbs::activate},
        {Verb::add, RowVerbs::add},
        {Verb::gather_rows, RowVerbs::gather_rows},
        {Verb::route, RowVerbs::route},
        {Verb::combine_experts, RowVerbs::combine_experts},
        {Verb::weigh_slots, RowVerbs::weigh_slots},
        {Verb::scale, RowVerbs::scale},
        {Verb::scale_by_position, RowVerbs::scale_by_position},
        {Verb::multiply, RowVerbs::multiply},
        {Verb::softcap, RowVerbs::softcap},
        {Verb::l2_norm, RowVerbs::l2_norm},
        {Verb::layer_norm, RowVerbs::layer_norm},
        {Verb::copy, RowVerbs::copy},
        {Verb::add_slot_bias, RowVerbs::add_slot_bias},
        {Verb::gate_rows, RowVerbs::gate_rows},
    };
    return kBodies;
}

}  // namespace invar
