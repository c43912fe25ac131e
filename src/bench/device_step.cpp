#include "bench/device_step.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "bench/expert_counter.h"
#include "proof/record/hooked_ops.h"

namespace invar {
namespace {

int64_t bytes_of(Tensor x) { return x.rows() * x.width() * 4; }

bool has_weights_of_bytes(const Format& format) { return !format.is_float; }

// Positions of the cache that are read at least: those of each sequence that some row of it sees, once.
int64_t positions_read(const Batch& batch, int window) {
    std::map<int32_t, std::pair<int64_t, int64_t>> seen;  // first and last, by sequence
    for (const BatchRow& row : batch.rows) {
        const int64_t first = window > 0 ? std::max<int64_t>(0, row.position + 1 - window) : 0;
        const auto [at, fresh] = seen.try_emplace(row.sequence, first, row.position);
        if (fresh) continue;
        at->second.first = std::min(at->second.first, first);
        at->second.second = std::max(at->second.second, row.position);
    }
    int64_t positions = 0;
    for (const auto& [sequence, range] : seen) positions += range.second - range.first + 1;
    return positions;
}

CallCost cost_of_attention(const VerbCall& call, const AttentionGeometry& layer, CacheType cache) {
    CallCost cost{.bytes = bytes_of(call.x) + bytes_of(call.out)};
    const int64_t widths = layer.key_width + layer.value_width;
    cost.bytes += positions_read(*call.batch, layer.window) * layer.kv_heads * widths * cache_type_bytes(cache);
    for (const BatchRow& row : call.batch->rows) {
        const int64_t seen = layer.window > 0 ? std::min<int64_t>(row.position + 1, layer.window) : row.position + 1;
        cost.multiply_adds += seen * layer.heads * widths;
    }
    return cost;
}

// The calls that one or several launches compute together, and what these launches were.
struct Group {
    std::string verb;
    std::vector<std::string> formats;  // each once
    CallCost cost;
    bool on_tensor_cores = false;
    bool open = true;
    int calls = 0;
};

// Numbers the groups of calls of a pass and tells the device which group it launches for.
class CallMarker final : public VerbHook {
  public:
    CallMarker(Engine& engine, std::span<const int64_t> experts_read) : engine_(engine), experts_read_(experts_read) {}

    Looks looks() const override { return Looks::at_calls; }
    void begin_pass() override { groups_.clear(); }
    void before(VerbCall& call) override {
        if (groups_.empty() || !groups_.back().open) {
            groups_.push_back({.verb = std::string(verb_name(call.verb))});
            engine_.device()->mark_kernels(static_cast<int64_t>(groups_.size()) - 1);
        }
        Group& group = groups_.back();
        const Format* format = call.matrix != nullptr  ? call.matrix->format
                               : call.stack != nullptr ? call.stack->first.format
                                                       : nullptr;
        if (format != nullptr) {
            if (std::find(group.formats.begin(), group.formats.end(), format->name) == group.formats.end())
                group.formats.emplace_back(format->name);
            group.on_tensor_cores = call.verb != Verb::embed && has_weights_of_bytes(*format);
        }
        const CallCost cost = cost_of_call(call, engine_.config(), engine_.plan().cache_type, experts_read_);
        // Calls of one launch have one input, which is read once.
        group.cost.bytes += cost.bytes - (group.calls++ == 0 ? 0 : bytes_of(call.x));
        group.cost.multiply_adds += cost.multiply_adds;
    }
    void after(const VerbCall&) override { groups_.back().open = false; }
    const std::vector<Group>& groups() const { return groups_; }

  private:
    Engine& engine_;
    const std::span<const int64_t> experts_read_;
    std::vector<Group> groups_;
};

// Lines of equal verb and formats; groups that launched nothing were computed by the CPU.
std::vector<StepLine> lines_of(const std::vector<Group>& groups, const std::vector<KernelTime>& times) {
    std::vector<StepLine> lines;
    std::vector<bool> launched(groups.size(), false);
    for (const KernelTime& time : times) {
        const auto number = static_cast<size_t>(time.mark);
        if (number >= groups.size()) continue;
        const Group& group = groups[number];
        const std::string formats = fmt::format("{}", fmt::join(group.formats, "+"));
        auto line = std::find_if(lines.begin(), lines.end(),
                                 [&](const StepLine& one) { return one.verb == group.verb && one.formats == formats; });
        if (line == lines.end())
            line =
                lines.insert(line, {.verb = group.verb, .formats = formats, .on_tensor_cores = group.on_tensor_cores});
        if (std::find(line->kernels.begin(), line->kernels.end(), time.kernel) == line->kernels.end())
            line->kernels.emplace_back(time.kernel);
        ++line->launches;
        line->milliseconds += time.milliseconds;
        if (launched[number]) continue;
        launched[number] = true;
        ++line->calls;
        line->bytes += group.cost.bytes;
        line->multiply_adds += group.cost.multiply_adds;
    }
    std::stable_sort(lines.begin(), lines.end(),
                     [](const StepLine& a, const StepLine& b) { return a.milliseconds > b.milliseconds; });
    return lines;
}

// Puts the engine's own verbs back.
class Using {
  public:
    Using(EngineSubject& subject, Engine& engine, Ops& verbs) : subject_(subject), engine_(engine) {
        subject.use(verbs);
    }
    ~Using() { subject_.use(engine_.ops()); }

  private:
    EngineSubject& subject_;
    Engine& engine_;
};

Result<double> seconds_of_pass(const Work& work, EngineSubject& subject, const Clock& clock) {
    TRY(subject.prepare(work));
    const double start = clock();
    TRY(subject.first_pass(work));
    return clock() - start;
}

}  // namespace

CallCost cost_of_call(const VerbCall& call, const ModelConfig& config, CacheType cache,
                      std::span<const int64_t> experts_read) {
    const auto layer = static_cast<size_t>(std::max(0, call.stage.layer));
    CallCost cost{.bytes = bytes_of(call.x) + bytes_of(call.x2) + bytes_of(call.out)};
    switch (call.verb) {
        case Verb::embed:
            cost.bytes += call.out.rows() * call.matrix->format->row_bytes(call.matrix->columns);
            return cost;
        case Verb::linear:
            cost.bytes += call.matrix->bytes;
            cost.multiply_adds = call.x.rows() * call.matrix->rows * call.matrix->columns;
            return cost;
        case Verb::expert_linear: {
            const int64_t read = layer < experts_read.size() ? experts_read[layer] : 0;
            cost.bytes += read * call.stack->first.bytes;
            cost.multiply_adds = call.out.rows() * call.stack->first.rows * call.stack->first.columns;
            return cost;
        }
        case Verb::attention:
            return cost_of_attention(call, *config.layers[static_cast<size_t>(call.attention->layer)].attention(),
                                     cache);
        case Verb::store_kv:
            cost.bytes += call.x.rows() * (call.x.width() + call.x2.width()) * cache_type_bytes(cache);
            return cost;
        default:
            if (call.vector != nullptr) cost.bytes += call.vector->size * 4;
            return cost;
    }
}

Result<DeviceStep> measure_step(const Work& work, EngineSubject& subject, Engine& engine,
                                const StepSettings& settings) {
    DeviceStep step{.work = work, .rows = subject.rows_of_first_pass(work)};
    ExpertCounter counter(engine.config().layers.size());
    {
        TRY(subject.prepare(work));  // the passes before are not counted
        HookedOps counted(engine.ops(), {&counter});
        const Using use(subject, engine, counted);
        TRY(subject.first_pass(work));  // it warms up, too
    }
    // A shape's first pass is plain and its second one is recorded.
    for (int run = -2; run < settings.runs; ++run) {
        TRY_ASSIGN(const double seconds, seconds_of_pass(work, subject, settings.clock));
        if (run == 0 || (run > 0 && seconds < step.seconds_as_run)) step.seconds_as_run = seconds;
    }
    CallMarker marker(engine, counter.read());
    HookedOps marked(engine.ops(), {&marker});
    const Using use(subject, engine, marked);
    for (int run = 0; run < settings.runs; ++run) {
        TRY_ASSIGN(const double plain, seconds_of_pass(work, subject, settings.clock));
        if (run == 0 || plain < step.seconds_one_by_one) step.seconds_one_by_one = plain;
        TRY(subject.prepare(work));
        TRY(engine.device()->begin_kernel_times());
        Result<void> ran = subject.first_pass(work);
        auto times = engine.device()->end_kernel_times();
        TRY(std::move(ran));
        TRY(times);
        double sum = 0;
        for (const KernelTime& time : *times) sum += time.milliseconds / 1e3;
        if (run > 0 && sum >= step.kernel_seconds) continue;
        step.kernel_seconds = sum;
        step.launches = static_cast<int64_t>(times->size());
        step.lines = lines_of(marker.groups(), *times);
    }
    return step;
}

}  // namespace invar
