// invar trace diff compares two recordings; invar trace replay feeds a recording to a model verb by verb and compares.
// Both end in the same report and the same exit codes: 0 equal, 1 different (or not all compared), 2 could not run.
#include "app/output.h"
#include "app/settings.h"
#include "app/trace.h"
#include "base/json.h"
#include "files/checkpoint_digest.h"
#include "proof/record/comparison_report.h"
#include "proof/record/recording_file.h"
#include "proof/record/replay.h"
#include "proof/record/stage_map.h"

namespace invar::app {
namespace {

struct ReportFlags {
    std::string tolerance, map;
    bool all = false, json = false, allow_missing = false;
};

struct TraceDiffFlags {
    ReportFlags report;
    std::string a, b;
};

struct ReplayFlags {
    ReportFlags report;
    ModelSettings machine;
    std::string model, recording, inject;
    Force force = Force::all;
};

SettingGroup report_settings(ReportFlags& flags) {
    return {
        "Report",
        {
            {"--tolerance", text(flags.tolerance),
             "JSON file that says how far stages may be apart, and why; without it every bit must be equal"},
            {"--map", text(flags.map), "JSON file that maps another engine's names and layouts"},
            {"--all", flag(flags.all), "A row for every stage, not only for those that differ"},
            {"--allow-missing", flag(flags.allow_missing), "Stages that only one side has are listed but do not fail"},
            {"--json", flag(flags.json), "Print JSON"},
        }};
}

Result<Tolerances> tolerances_of(const ReportFlags& flags) {
    if (flags.tolerance.empty()) return Tolerances();
    return Tolerances::load(flags.tolerance);
}

Result<Recording> load_mapped(const std::string& path, const std::string& map_path) {
    TRY_ASSIGN(Recording recording, load_recording(path));
    if (map_path.empty()) return recording;
    TRY_ASSIGN(const StageMap map, StageMap::load(map_path));
    const auto applied = map.apply(recording);
    if (!applied) return fail("{}: {}", path, applied.error().message);
    return recording;
}

int report(const RecordingComparison& comparison, const ReportFlags& flags, const ComparisonWords& words) {
    const ReportedStages which = flags.all ? ReportedStages::all : ReportedStages::those_that_differ;
    if (flags.json) {
        print_json(comparison_as_json(comparison, which));
    } else {
        print_result(comparison_as_text(comparison, which, words));
    }
    const bool equal = comparison.failures() == 0 && !comparison.tokens_differ_at;
    return equal && (flags.allow_missing || comparison.complete()) ? kDone : kDifferent;
}

Result<int> trace_diff(const TraceDiffFlags& flags) {
    TRY_ASSIGN(const Tolerances tolerances, tolerances_of(flags.report));
    TRY_ASSIGN(const Recording a, load_mapped(flags.a, flags.report.map));
    TRY_ASSIGN(const Recording b, load_mapped(flags.b, flags.report.map));
    print_note(fmt::format("A  {}: {}\nB  {}: {}", flags.a, description_of(a), flags.b, description_of(b)));
    TRY_ASSIGN(const RecordingComparison comparison, compare_recordings(a, b, tolerances));
    return report(comparison, flags.report, {});
}

const std::vector<Named<Force>> kForces = {
    {"all", Force::all}, {"routing", Force::routing}, {"nothing", Force::nothing}};

std::string_view force_name(Force force) {
    for (const Named<Force>& one : kForces) {
        if (one.value == force) return one.name;
    }
    return "";
}

Result<int> trace_replay(const ReplayFlags& flags) {
    TRY_ASSIGN(const Tolerances tolerances, tolerances_of(flags.report));
    TRY_ASSIGN(const Recording recording, load_mapped(flags.recording, flags.report.map));
    TRY_ASSIGN(EngineSettings settings, engine_settings(flags.machine, flags.model));
    settings.logits_rows = settings.chunk;
    ProgressBar bar("loading");
    TRY_ASSIGN(const auto engine, Engine::open(settings, [&](int64_t done, int64_t total) { bar.show(done, total); }));
    bar.clear();
    say_placement(engine->plan());
    EngineRunner runner(*engine);
    print_note(fmt::format("rec  {}: {}\nown  {}: {}", flags.recording, description_of(recording), flags.model,
                           runner.name()));
    const auto hash = recording.metadata.find("model_hash");
    if (hash != recording.metadata.end() && hash->second != digest_of(engine->checkpoint()).value_or(""))
        print_note(fmt::format("note: the recording is of another file ({})", hash->second));
    TRY_ASSIGN(const std::unique_ptr<FaultHook> fault, injected_fault(flags.inject, *engine));
    ReplayRequest request{.recording = recording, .force = flags.force, .chunk = settings.chunk};
    if (fault) request.before = {fault.get()};
    TRY_ASSIGN(const ReplayResult result, replay(runner, request, tolerances));
    TRY(report_fault(fault.get(), flags.inject));
    print_note(fmt::format("{} results were replaced by the recording's (--force {})", result.forced_rows,
                           force_name(flags.force)));
    return report(result.comparison, flags.report, {.unit = "verb", .a = "rec", .b = "own"});
}

}  // namespace

Command trace_diff_command() {
    auto flags = std::make_shared<TraceDiffFlags>();
    return {.name = "diff",
            .summary = "Compare two recordings, stage by stage, bit for bit",
            .settings = {{"",
                          {
                              {"a", text(flags->a), "Recording A; its forward order counts", kRequired},
                              {"b", text(flags->b), "Recording B, of any engine", kRequired},
                          }},
                         report_settings(flags->report)},
            .footer =
                "Ends with 0 if all is equal or tolerated, 1 if not or if something was not compared, 2 if it "
                "could not run.\n"
                "Examples:\n"
                "  invar trace diff avx2.safetensors avx512.safetensors\n"
                "  invar trace diff ours.safetensors theirs.safetensors --map names.json --tolerance "
                "float32.json\n"
                "  invar trace diff a.safetensors b.safetensors --json | jq .first",
            .run = [flags](const Arguments&) { return trace_diff(*flags); }};
}

Command trace_replay_command() {
    auto flags = std::make_shared<ReplayFlags>();
    return {.name = "replay",
            .summary = "Give each verb its recorded inputs, and show which verbs are wrong",
            .settings = {{"",
                          {
                              {"model", model_name(flags->model), "GGUF file or model directory", kRequired},
                              {"recording", text(flags->recording), "Recording with values", kRequired},
                              {"--force", choice(flags->force, kForces),
                               "all: every result is replaced by the recording's once it was compared, so that what "
                               "differs is that verb's own error; routing: only the choice of experts; nothing: a "
                               "plain run"},
                              {"--inject", text(flags->inject),
                               "Put this fault into the model (see invar verify --help; @FILE: read it)"},
                          }},
                         report_settings(flags->report),
                         model_settings(flags->machine)},
            .footer =
                "Ends with 0 if no verb differs, 1 if one does or was not compared, 2 if it could not run.\n"
                "Examples:\n"
                "  invar trace replay model.gguf a.safetensors --isa avx512\n"
                "  invar trace replay model-q4_k_m.gguf exact.safetensors --tolerance q4.json --all\n"
                "  invar trace replay model.gguf a.safetensors --force routing     is it the experts or the "
                "choice of them?",
            .run = [flags](const Arguments&) { return trace_replay(*flags); }};
}

}  // namespace invar::app
