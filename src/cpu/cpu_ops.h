// The verbs on host memory. It decides which thread computes what, with which kernel of the tables (linear.h,
// row_kernels.h, attention_kernels.h) and in which scratch memory, and finds the first non-finite number. The kernels
// alone determine the bits: no result depends on the split chosen here. The verbs: ops/ops.h.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "cpu/arena.h"
#include "cpu/attention_kernels.h"
#include "cpu/row_kernels.h"
#include "machine/isa.h"
#include "machine/thread_pool.h"
#include "ops/ops.h"

namespace invar {

enum class ActivationForm : uint8_t;  // cpu/linear.h

struct CpuOpsSettings {
    ThreadPool& pool;  // outlives the CpuOps
    Isa highest = Isa::scalar;
    std::string forced_linear;  // a row of linear_kernels() to take whenever it fits; "": none
    int64_t scratch_bytes = 0;  // as measured by a dry pass (measuring)
    // Take no memory: verbs only count their scratch, so that scratch_peak() after a pass over the largest batch is the
    // scratch_bytes that real ops need. Tensors must not be read.
    bool measuring = false;
};

enum class ShapeClass : uint8_t { one_token, few_tokens /* 2 to 8 */, many_tokens };
ShapeClass shape_class(int64_t tokens);
std::string_view shape_class_name(ShapeClass shape);

// A kernel that ran.
struct KernelUse {
    std::string_view verb;
    std::string_view format;  // of the weight; "" if there is none
    ShapeClass shape = ShapeClass::one_token;
    std::string_view kernel;
    auto operator<=>(const KernelUse&) const = default;
};

class CpuOps final : public Ops {
  public:
    // Fails if the scratch memory cannot be had, or if no linear kernel of this machine has the forced name.
    static Result<std::unique_ptr<CpuOps>> create(const CpuOpsSettings& settings);

    // Every distinct use since construction, in order of first use.
    std::span<const KernelUse> kernels_used() const { return kernels_used_; }
    int64_t scratch_peak() const { return arena_.peak(); }
    std::span<std::byte> scratch_memory() const { return arena_.memory(); }  // contents undefined between passes

    Tensor scratch(int64_t rows, int64_t width) override;
    ExpertSlots scratch_slots(int64_t rows, int experts_per_row) override;
    void begin_pass() override;
    std::optional<NonFinite> failure() const override { return failure_; }

    void run(const VerbCall& call) override;
    void run_together(std::span<const VerbCall> calls) override;
    Result<void> finish() override { return lacking_; }

  private:
    // The body of a verb: a row of one of the lists below. A verb without one is an error of the plan.
    struct Body {
        Verb verb = Verb::count;
        void (*run)(CpuOps& cpu, const VerbCall& call) = nullptr;
        // Computes several calls as one where that is faster; otherwise nullptr.
        void (*run_together)(CpuOps& cpu, std::span<const VerbCall> calls) = nullptr;
    };
    struct RowVerbs;                                   // the bodies that work row by row (cpu_ops.cpp)
    static std::span<const Body> row_bodies();         // cpu_ops.cpp
    static std::span<const Body> product_bodies();     // cpu_ops_linear.cpp
    static std::span<const Body> position_bodies();    // cpu_ops_attention.cpp
    static std::span<const Body> recurrence_bodies();  // cpu_ops_recurrence.cpp
    static const Body* body_of(Verb verb);

    // The first non-finite output a worker met in a verb, by (job, row, element).
    struct alignas(64) Finding {
        bool found = false;
        int64_t job = 0, row = 0, element = 0;
        float value = 0;
    };
    struct ExpertJob {
        Stage stage;
        const WeightStack* experts = nullptr;
        Tensor out;  // [slots, rows of an expert]
    };
    struct SlotOrder;      // slots grouped by expert (cpu_ops_linear.cpp)
    struct ExpertPlan;     // the split of a call (cpu_ops_linear.cpp)
    struct AttentionPlan;  // the split of a call (cpu_ops_attention.cpp)

    CpuOps(const CpuOpsSettings& settings, Arena arena);

    bool measuring() const { return !arena_.has_memory(); }
    // The fewest rows that are worth a thread of their own.
    static int64_t rows_for_a_thread(int64_t elements_of_row);

    // Looks for a non-finite number in x[0..n), the elements of `row` from first_element on.
    void inspect(int worker, int64_t job, int64_t row, int64_t first_element, const float* x, int64_t n);
    // The same for 16-bit floats as stored.
    void inspect_halves(int worker, int64_t job, int64_t row, int64_t first_element, CachedFloat type,
                        const uint16_t* halves, int64_t n);
    void report_finding(const VerbCall& call) {
        report_finding(verb_name(call.verb), std::span<const Stage>(&call.stage, 1));
    }
    void report_finding(std::string_view verb, std::span<const Stage> stage_of_job);
    void record_use(Verb verb, std::string_view format, int64_t tokens, std::string_view kernel);

    // Calls body over all elements of [rows, width], in parts of a row that are together worth a thread.
    using PartBody = FunctionRef<void(int64_t row, int64_t first, int64_t count, int worker)>;
    void for_each_part(int64_t rows, int64_t width, PartBody body);

    void multiply(std::span<const LinearJob> jobs, Tensor x);
    const std::byte* prepare(ActivationForm form, Tensor x);
    void run_experts(Verb verb, std::span<const ExpertJob> jobs, const ExpertSlots& routing, SlotInput input, Tensor x);
    void multiply_expert(const ExpertPlan& plan, std::span<const ExpertJob> jobs, int64_t item, int worker);
    SlotOrder order_slots(const ExpertSlots& routing, int64_t experts);
    const std::byte* prepare_slots(ActivationForm form, const SlotOrder& order, const ExpertSlots& routing,
                                   SlotInput input, Tensor x);

    void multiply_heads(const VerbCall& call);
    void convolve(const VerbCall& call);
    void recur(const VerbCall& call);
    void rotate(const VerbCall& call);
    void store(const VerbCall& call);
    void attend(const VerbCall& call);
    const float* angles_of(const RopeTable& table, const Batch& batch);
    void attend_tiles(const AttentionPlan& plan);
    void attend_in_waves(const AttentionPlan& plan, int64_t most_chunks);
    struct ChunkState;  // of some queries (cpu_ops_attention.cpp)
    void finish_query(const AttentionPlan& plan, int64_t row, int64_t query_head, const ChunkState& state, int worker);

    ThreadPool& pool_;
    const Isa highest_;
    const std::string forced_linear_;
    const RowKernels& row_kernels_;
    const AttentionKernels& attention_kernels_;
    Arena arena_;

    Result<void> lacking_;  // the first call that has no body here
    std::optional<NonFinite> failure_;
    std::vector<Finding> findings_;  // by worker
    std::vector<KernelUse> kernels_used_;

    // Angles that this pass has computed already: every layer of a model asks for the same ones.
    struct RopeAngles {
        const RopeTable* table = nullptr;
        std::vector<int64_t> positions;
        const float* values = nullptr;  // [rows][2][pairs]: cosines, then sines; in the arena
    };
    std::vector<RopeAngles> rope_angles_;
};

}  // namespace invar
