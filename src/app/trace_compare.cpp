// invar trace diff and invar trace replay: two recordings, or a recording and a model fed with it verb by verb. Both
// end in the same report and the same exit codes: 0 equal, 1 different (or not all compared), 2 could not run.
#include <array>

#include "app/output.h"
#include "app/settings.h"
#include "app/trace.h"
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

struct DiffFlags {
    ReportFlags report;
    std::string a, b;
};

struct ReplayFlags {
    ReportFlags report;
    ModelFlags model_flags;
    std::string model, recording, inject, force = "all";
};

void add_report_flags(CLI::App& command, ReportFlags& flags) {
    command.add_option("--tolerance", flags.tolerance,
                       "JSON file of how far which stages may be apart, each with a reason; without it 0 bits");
    command.add_option("--map", flags.map, "JSON file of another engine's names and layouts");
    command.add_flag("--all", flags.all, "A row for every stage, not only for those that differ");
    command.add_flag("--allow-missing", flags.allow_missing,
                     "What only one side has does not count (it is still named)");
    command.add_flag("--json", flags.json, "Print JSON");
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

Result<int> trace_diff(const DiffFlags& flags) {
    TRY_ASSIGN(const Tolerances tolerances, tolerances_of(flags.report));
    TRY_ASSIGN(const Recording a, load_mapped(flags.a, flags.report.map));
    TRY_ASSIGN(const Recording b, load_mapped(flags.b, flags.report.map));
    print_note(fmt::format("A  {}: {}\nB  {}: {}", flags.a, description_of(a), flags.b, description_of(b)));
    TRY_ASSIGN(const RecordingComparison comparison, compare_recordings(a, b, tolerances));
    return report(comparison, flags.report, {});
}

Result<Force> force_of(const std::string& name) {
    constexpr std::array<std::pair<std::string_view, Force>, 3> kChoices = {
        {{"all", Force::all}, {"routing", Force::routing}, {"nothing", Force::nothing}}};
    for (const auto& [choice, force] : kChoices) {
        if (choice == name) return force;
    }
    return fail("--force '{}' is not known; choose one of all, routing, nothing", name);
}

Result<int> trace_replay(const ReplayFlags& flags) {
    TRY_ASSIGN(const Force force, force_of(flags.force));
    TRY_ASSIGN(const Tolerances tolerances, tolerances_of(flags.report));
    TRY_ASSIGN(const Recording recording, load_mapped(flags.recording, flags.report.map));
    TRY_ASSIGN(EngineSettings settings, engine_settings(flags.model_flags, flags.model));
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
    ReplayRequest request{.recording = recording, .force = force, .chunk = settings.chunk};
    if (fault) request.before = {fault.get()};
    TRY_ASSIGN(const ReplayResult result, replay(runner, request, tolerances));
    TRY(report_fault(fault.get(), flags.inject));
    print_note(
        fmt::format("{} results were replaced by the recording's (--force {})", result.forced_rows, flags.force));
    return report(result.comparison, flags.report, {.unit = "verb", .a = "rec", .b = "own"});
}

}  // namespace

void add_trace_diff(CLI::App& trace, Action& action) {
    auto flags = std::make_shared<DiffFlags>();
    CLI::App* command = trace.add_subcommand("diff", "Compare two recordings, stage by stage, bit for bit");
    command->add_option("a", flags->a, "Recording A; its forward order counts")->required();
    command->add_option("b", flags->b, "Recording B, of any engine")->required();
    add_report_flags(*command, flags->report);
    command->footer(
        "Ends with 0 if all is equal or tolerated, 1 if not or if something was not compared, 2 if it could not run.\n"
        "Examples:\n"
        "  invar trace diff avx2.safetensors avx512.safetensors\n"
        "  invar trace diff ours.safetensors theirs.safetensors --map names.json --tolerance float32.json\n"
        "  invar trace diff a.safetensors b.safetensors --json | jq .first");
    command->callback([flags, &action] { action = [flags] { return trace_diff(*flags); }; });
}

void add_trace_replay(CLI::App& trace, Action& action) {
    auto flags = std::make_shared<ReplayFlags>();
    CLI::App* command = trace.add_subcommand("replay", "Feed each verb what a recording holds, and see which is wrong");
    command->add_option("model", flags->model, "GGUF file")->required();
    command->add_option("recording", flags->recording, "Recording with values")->required();
    command
        ->add_option("--force", flags->force,
                     "all: every result is replaced by the recording's once it was compared, so that what differs is "
                     "that verb's own error; routing: only the choice of experts; nothing: a plain run")
        ->capture_default_str();
    command->add_option("--inject", flags->inject,
                        "Put this fault into the model (see invar verify --help; @FILE: read it)");
    add_report_flags(*command, flags->report);
    command->footer(
        "Ends with 0 if no verb differs, 1 if one does or was not compared, 2 if it could not run.\n"
        "Examples:\n"
        "  invar trace replay model.gguf a.safetensors --isa avx512\n"
        "  invar trace replay model-q4_k_m.gguf exact.safetensors --tolerance q4.json --all\n"
        "  invar trace replay model.gguf a.safetensors --force routing     is it the experts or the choice of them?");
    add_model_flags(*command, flags->model_flags);
    command->callback([flags, &action] { action = [flags] { return trace_replay(*flags); }; });
}

}  // namespace invar::app
