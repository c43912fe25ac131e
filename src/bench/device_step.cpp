#include "bench/device_step.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "bench/expert_counter.h"
#include "proof/record/hooked_ops.h"

namespace invar {
namespace {

int64_t bytes_of(Tensor x) { return x.rows() * x.width() * 4; }

bool has_weights_of_bytes(const Format& format) { return !format.is_float; }

// A group of calls that are computed by the same launches.
struct Group {
    std::string verb;
    std::vector<std::string> formats;  // each format once
    int64_t bytes = 0, multiply_adds = 0;
    bool on_tensor_cores = false;
    bool open = true;
    int calls = 0;
};

// Numbers the groups of calls in a pass and tells the device for which group it launches kernels.
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
        if (const Format* format = call.format()) {
            if (std::find(group.formats.begin(), group.formats.end(), format->name) == group.formats.end())
                group.formats.emplace_back(format->name);
            group.on_tensor_cores = call.verb != Verb::embed && has_weights_of_bytes(*format);
        }
        const VerbCost cost = cost_of(call.verb, call);
        const auto layer = static_cast<size_t>(std::max(0, call.stage.layer));
        const int64_t experts = layer < experts_read_.size() ? experts_read_[layer] : 0;
        const int64_t bytes = cost.weight_bytes + experts * cost.expert_bytes + cost.cache_bytes +
                              2 * cost.state_bytes + cost.activation_bytes;
        // Calls that share a launch share their input, which is read once.
        group.bytes += bytes - (group.calls++ == 0 ? 0 : bytes_of(call.x));
        group.multiply_adds += cost.multiply_adds;
    }
    void after(const VerbCall&) override { groups_.back().open = false; }
    const std::vector<Group>& groups() const { return groups_; }

  private:
    Engine& engine_;
    const std::span<const int64_t> experts_read_;
    std::vector<Group> groups_;
};

// Adds up groups of the same verb and formats. A group without launches was computed by the CPU and is left out.
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
        line->bytes += group.bytes;
        line->multiply_adds += group.multiply_adds;
    }
    std::stable_sort(lines.begin(), lines.end(),
                     [](const StepLine& a, const StepLine& b) { return a.milliseconds > b.milliseconds; });
    return lines;
}

// Restores the engine's own verbs when it is destroyed.
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

Result<DeviceStep> measure_step(const Work& work, EngineSubject& subject, Engine& engine,
                                const StepSettings& settings) {
    DeviceStep step{.work = work, .rows = subject.rows_of_first_pass(work)};
    ExpertCounter counter(engine.config().layers.size());
    {
        TRY(subject.prepare(work));  // outside of the counter, so that earlier passes are not counted
        HookedOps counted(engine.ops(), {&counter});
        const Using use(subject, engine, counted);
        TRY(subject.first_pass(work));  // this pass also warms up
    }
    // Two runs go first, because the first pass of a shape runs plainly and the second one is recorded.
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
