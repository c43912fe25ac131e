#include "proof/verify/verify.h"

#include <fnmatch.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "arithmetic/version.h"
#include "base/json.h"
#include "engine/pass_survey.h"
#include "files/checkpoint_digest.h"
#include "proof/verify/judge.h"
#include "proof/verify/recorded_passes.h"

namespace invar {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

constexpr int64_t kMostBookBytes = int64_t{2} << 30;
// A schedule computes two positions of each probe at least, however slow they are. Beyond so many times the seconds for
// a path no other one is begun.
constexpr double kMostOfPath = 2;

// How many values a book keeps per position.
Result<int64_t> values_of_position(const PlannedModel& planned) {
    TRY_ASSIGN(const PassSurvey survey, PassSurvey::of(planned.config, planned.plan, batch_of(0, 1, 1)));
    int64_t total = 0;
    for (const VerbCall& call : survey.calls()) total += values_recorded(call);
    return total;
}

// Seconds of a pass of `count` tokens, the better of two where one takes less than `most`.
Result<double> seconds_of_pass(ModelRunner& runner, int64_t count, double most) {
    double best = 0;
    const std::vector<int32_t> tokens(static_cast<size_t>(count));
    for (int run = 0; run < 2 && best < most; ++run) {
        const int32_t sequence = runner.cache().add_sequence();
        const auto start = Clock::now();
        TRY(feed(runner, {.sequence = sequence, .tokens = tokens, .chunk = count, .all_logits = true}, {}, nullptr));
        best = run == 0 ? seconds_since(start) : std::min(best, seconds_since(start));
        runner.cache().remove_sequence(sequence);
    }
    return best;
}

struct Opened {
    std::unique_ptr<Engine> engine;
    std::unique_ptr<EngineRunner> runner;
    double seconds_of_token = 0;  // for a token alone in a pass
    double seconds_in_chunk = 0;  // for each token of a pass of several

    double seconds_of(const ProbeSet& probes, const Schedule& schedule) const {
        double seconds = 0;
        for (const Probe& probe : probes.probes) {
            const double of_prompt = schedule.chunk == 1 ? seconds_of_token : seconds_in_chunk;
            seconds += static_cast<double>(probe.prompt) * of_prompt +
                       static_cast<double>(probe.positions() - probe.prompt) * seconds_of_token;
        }
        return seconds;
    }
};

// Stands in for a hook that a run does not need.
class NoHook final : public VerbHook {
    Looks looks() const override { return Looks::at_results; }
};

class Verification {
  public:
    explicit Verification(const VerifySettings& settings) : settings_(settings) {}

    Result<VerifyReport> run() {
        const auto start = Clock::now();
        TRY(prepare());
        TRY(fill_book());
        for (size_t i = 0; i < paths_.size(); ++i) {
            if (settings_.progress) {
                settings_.progress(paths_[i].name, static_cast<int64_t>(i), static_cast<int64_t>(paths_.size()));
            }
            verify_path(i);
        }
        TRY(measure());
        report_.seconds = seconds_since(start);
        return std::move(report_);
    }

  private:
    Result<void> prepare() {
        TRY_ASSIGN(const Checkpoint file, Checkpoint::open(settings_.engine.model));
        EngineSettings base = settings_.engine;
        base.context = 0;
        base.device = nullptr;
        TRY_ASSIGN(PlannedModel planned, plan_model(file, base));
        probes_ = make_probes(file, planned.config, std::min(planned.config.context_length, int64_t{128}));
        TRY_ASSIGN(const int64_t values, values_of_position(planned));
        const int64_t affordable = kMostBookBytes / 4 / values;
        if (affordable < probes_.positions()) probes_ = probes_.trimmed(affordable);
        // A pass of whole texts has room for all of them.
        const bool whole = planned.config.sees_both_ways();
        base.context = whole ? std::min(planned.config.context_length, probes_.positions()) : probes_.longest();
        base.sequences = static_cast<int>(probes_.probes.size()) + 1;
        base.chunk = std::min<int64_t>(512, base.context);
        base.logits_rows = base.chunk;
        base.device = settings_.engine.device;
        paths_ = verify_paths(base, planned.plan);
        for (VerifyPath& path : paths_) {
            const bool asked = settings_.only.empty() || fnmatch(settings_.only.c_str(), path.name.c_str(), 0) == 0;
            if (!asked && path.skipped.empty())
                path.skipped = fmt::format("not asked for (--only '{}')", settings_.only);
        }

        report_.model = planned.config.name;
        report_.architecture = planned.config.architecture;
        report_.layers = static_cast<int64_t>(planned.config.layers.size());
        report_.arithmetic_version = kArithmeticVersion;
        report_.cache_type = std::string(cache_type_name(base.cache_type));
        report_.skipped_probes = probes_.skipped;
        report_.plan = std::make_shared<const Json>(plan_as_json(planned.plan));
        TRY_ASSIGN(report_.file_hash, digest_of(file));
        report_.file = settings_.engine.model.filename().string();
        report_.file_bytes = static_cast<int64_t>(file.file_bytes());
        for (const Probe& probe : probes_.probes) {
            report_.probes.emplace_back(probe.name, probe.positions());
            report_.probe_tokens.push_back(probe.tokens);
            probe_names_.push_back(probe.name);
        }
        return {};
    }

    Result<Opened> open(const VerifyPath& path) const {
        Opened opened;
        TRY_ASSIGN(opened.engine, Engine::open(path.settings, nullptr));
        opened.runner = std::make_unique<EngineRunner>(*opened.engine);
        // Of a large model these passes alone could take longer than the time for the path.
        const double most = settings_.seconds_of_path / 16;
        TRY_ASSIGN(opened.seconds_of_token, seconds_of_pass(*opened.runner, 1, most));
        opened.seconds_in_chunk = opened.seconds_of_token;
        if (opened.seconds_of_token > most) return opened;
        const int64_t several = std::min<int64_t>(8, probes_.longest());
        TRY_ASSIGN(const double of_several, seconds_of_pass(*opened.runner, several, most));
        opened.seconds_in_chunk = of_several / static_cast<double>(several);
        return opened;
    }

    // Fills the book from the definition (the first path) if that is fast enough to compute every position. Otherwise
    // it uses the path that users get, and the definition is later compared with it on as many positions as time
    // allows.
    Result<void> fill_book() {
        std::vector<size_t> candidates = {0};
        for (size_t i = paths_.size(); i-- > 0;) {
            if (paths_[i].skipped.empty() && paths_[i].settings.kernel.empty() &&
                paths_[i].settings.device == nullptr && paths_[i].settings.form == FormRequest::repacked &&
                paths_[i].schedules.size() == schedules().size()) {
                candidates.push_back(i);
                break;
            }
        }
        for (const size_t candidate : candidates) {
            TRY_ASSIGN(Opened opened, open(paths_[candidate]));
            const double expected = opened.seconds_of(probes_, schedules().front());
            if (candidate != candidates.back() && expected > settings_.seconds_of_path) continue;
            // A fault that has no place in this model is an error of the request, and no path differs by it.
            if (settings_.make_fault) TRY(settings_.make_fault(*opened.engine));
            book_path_ = candidate;
            report_.compared_with = fmt::format("{}, {}", paths_[candidate].name, schedules().front().name);
            std::vector<int32_t> sequence_of;
            BookKeeper keeper(*opened.runner, book_, sequence_of);
            VerbHook* hooks[] = {&keeper};
            TRY(run_schedule(*opened.runner, probes_, schedules().front(), hooks, sequence_of));
            break;
        }
        for (size_t probe = 0; probe < book_.probes(); ++probe) {
            for (const StageRecord& stage : book_.stages(probe)) {
                report_.reference_stages += static_cast<int64_t>(stage.positions.size());
            }
        }
        report_.stages_hash = book_.hash(probe_names_);
        return {};
    }

    void verify_path(size_t index) {
        const VerifyPath& path = paths_[index];  // skipped as not asked for, even if the book was made from it
        const auto add = [&](PathStatus status, const Schedule* schedule, std::string reason) -> PathResult& {
            return report_.paths.emplace_back(PathResult{.name = path.name,
                                                         .schedule = schedule == nullptr ? "" : schedule->name,
                                                         .flags = path.flags,
                                                         .status = status,
                                                         .reason = std::move(reason),
                                                         .all_positions = probes_.positions()});
        };
        if (!path.skipped.empty()) {
            add(PathStatus::skipped, nullptr, path.skipped);
            return;
        }
        const auto start = Clock::now();
        Result<Opened> opened = open(path);
        if (!opened) {
            add(PathStatus::failed, nullptr, opened.error().message);
            return;
        }
        const double seconds_of_schedule =
            settings_.seconds_of_path / static_cast<double>(std::max<size_t>(1, path.schedules.size()));
        if (path.looks == PathLooks::at_recorded_passes) {
            PathResult& result = add(PathStatus::equal, nullptr, "");
            compare_recorded(*opened->engine, result);
            result.seconds = seconds_since(start);
            return;
        }
        bool first = true;
        for (size_t i = 0; i < path.schedules.size(); ++i) {
            if (index == book_path_ && i == 0) continue;  // that is the book
            const double spent = seconds_since(start);
            if (!first && spent > kMostOfPath * settings_.seconds_of_path) {
                add(PathStatus::skipped, &path.schedules[i],
                    fmt::format("the schedules before took {:.0f} s; --seconds {:.0f} has time for all", spent,
                                std::ceil(spent * static_cast<double>(path.schedules.size()) / kMostOfPath)));
                continue;
            }
            const auto began = first ? start : Clock::now();
            first = false;
            // The beginning of a text gets other results than the text where attention sees both ways.
            const bool whole = opened->runner->cache().sees_both_ways();
            const double share = seconds_of_schedule / opened->seconds_of(probes_, path.schedules[i]);
            const ProbeSet probes =
                share < 1 && !whole
                    ? probes_.trimmed(static_cast<int64_t>(share * static_cast<double>(probes_.positions())))
                    : probes_;
            PathResult& result = add(PathStatus::equal, &path.schedules[i], "");
            compare(*opened, probes, path.schedules[i], index == book_path_ ? nullptr : settings_.make_fault, result);
            result.positions = probes.positions();
            result.seconds = seconds_since(began);
        }
    }

    void compare_recorded(Engine& engine, PathResult& result) {
        const auto is = [&](PathStatus status, std::string reason) {
            result.status = status;
            result.reason = std::move(reason);
        };
        if (!engine.recorded_passes())
            return is(PathStatus::skipped, "not all of the model is on the device, so no pass of it is recorded");
        if (settings_.make_fault)
            return is(PathStatus::skipped, "a recorded pass has no place between its verbs for a fault");
        const Result<RecordedCheck> check = check_recorded_passes(engine, {.seconds = settings_.seconds_of_path});
        if (!check) return is(PathStatus::failed, check.error().message);
        result.counts = check->counts;
        result.first = check->first;
        result.positions = result.all_positions = check->positions;
        result.note = fmt::format("{} passes replayed, {} recorded, {} plain; {} tokens chosen from ranks",
                                  check->passes.replayed, check->passes.recorded, check->passes.plain, check->choices);
        if (result.first) result.status = PathStatus::different;
    }

    void compare(Opened& opened, const ProbeSet& probes, const Schedule& schedule, const MakeFault& make_fault,
                 PathResult& result) {
        std::vector<int32_t> sequence_of;
        BookComparison comparison(*opened.runner, book_, sequence_of, probe_names_);
        const auto run = [&](VerbHook& outer, VerbHook& inner) -> Result<void> {
            std::unique_ptr<VerbHook> fault;
            if (make_fault) {
                TRY_ASSIGN(fault, make_fault(*opened.engine));
            }
            std::vector<VerbHook*> hooks = {&outer};
            if (fault != nullptr) hooks.push_back(fault.get());
            hooks.push_back(&inner);
            return run_schedule(*opened.runner, probes, schedule, hooks, sequence_of);
        };
        NoHook nothing;
        const Result<void> ran = run(nothing, comparison);
        result.counts = comparison.counts();
        result.first = comparison.first();
        if (result.first) {
            result.status = PathStatus::different;
            if (!ran) result.reason = ran.error().message;
            Judge judge(result.first->key, result.first->position, sequence_of_probe(result.first->probe),
                        result.first->element, sequence_of);
            (void)run(judge, nothing);  // may fail, but only after the judge has seen its verb
            result.first->float64 = judge.value();
            return;
        }
        const Result<void> complete = ran ? comparison.check_complete() : ran;
        if (!complete) {
            result.status = PathStatus::failed;
            result.reason = complete.error().message;
        }
    }

    size_t sequence_of_probe(const std::string& name) const {
        return static_cast<size_t>(std::find(probe_names_.begin(), probe_names_.end(), name) - probe_names_.begin());
    }

    Result<void> measure() {
        if (!settings_.accuracy) {
            report_.no_accuracy = "not asked for";
            return {};
        }
        const AccuracyRequest request{.model = settings_.engine.model.string(),
                                      .threads = settings_.engine.threads,
                                      .seconds = settings_.seconds_of_accuracy,
                                      .progress = [&](int64_t done, int64_t total) {
                                          if (settings_.progress) settings_.progress("float64 reference", done, total);
                                      }};
        TRY_ASSIGN(report_.accuracy, measure_accuracy(request, probes_, book_));
        return {};
    }

    const VerifySettings& settings_;
    ProbeSet probes_;
    std::vector<std::string> probe_names_;
    std::vector<VerifyPath> paths_;
    size_t book_path_ = 0;
    StageBook book_;
    VerifyReport report_;
};

}  // namespace

std::string_view path_status_name(PathStatus status) {
    constexpr std::string_view kNames[] = {"equal", "different", "skipped", "failed"};
    return kNames[static_cast<size_t>(status)];
}

int64_t VerifyReport::count(PathStatus status) const {
    return std::count_if(paths.begin(), paths.end(), [&](const PathResult& path) { return path.status == status; });
}

BookCounts VerifyReport::totals() const {
    BookCounts total;
    for (const PathResult& path : paths) {
        total.stages += path.counts.stages;
        total.values += path.counts.values;
        total.differing_stages += path.counts.differing_stages;
        total.differing_values += path.counts.differing_values;
    }
    return total;
}

const PathResult* VerifyReport::first_difference() const {
    const auto found = std::find_if(paths.begin(), paths.end(), [](const PathResult& path) {
        return path.status == PathStatus::different || path.status == PathStatus::failed;
    });
    return found == paths.end() ? nullptr : &*found;
}

Result<VerifyReport> verify(const VerifySettings& settings) { return Verification(settings).run(); }

}  // namespace invar
