// invar plan MODEL: prints the weight plan, which needs the header alone. --check loads the model and compares it with
// its plan. --shape plans a model that is nowhere: one that `invar synth` would write.
#include <chrono>

#include "app/output.h"
#include "app/settings.h"
#include "base/json.h"
#include "make/synth_headers.h"
#include "proof/verify/plan_check.h"

namespace invar::app {
namespace {

struct PlanFlags {
    ModelSettings machine;
    std::string model, shape;
    SynthOptions synth;
    bool json = false, summary = false, check = false;
};

Result<int> check(const PlanFlags& flags, const EngineSettings& settings) {
    ProgressBar bar("loading");
    TRY_ASSIGN(const PlanCheck checked,
               check_plan(settings, [&](int64_t done, int64_t total) { bar.show(done, total); }));
    bar.clear();
    if (flags.json) {
        print_json(plan_check_as_json(checked));
    } else {
        print_result(plan_check_as_text(checked, !flags.summary));
    }
    return checked.holds() ? kDone : kDifferent;
}

using Clock = std::chrono::steady_clock;

Result<int> print_plan(const PlanFlags& flags, const EngineSettings& settings, const Checkpoint& file,
                       Clock::time_point start) {
    EngineSettings unchecked = settings;  // a plan that does not fit is shown before it is refused
    unchecked.memory_bytes.reset();
    TRY_ASSIGN(PlannedModel planned, plan_model(file, unchecked));
    const Result<void> fits = check_host_memory(planned.plan, settings.memory_bytes, settings.memory_source);
    plan_with_cache(planned.plan, file, settings.weight_cache.folder);
    if (flags.json) {
        print_json(plan_as_json(planned.plan));
        TRY(fits);
        return kDone;
    }
    print_result(plan_as_table(planned.plan, !flags.summary));
    const double milliseconds = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
    print_note(fmt::format("planned in {:.1f} ms from the header of {:.1f} MiB of file{}", milliseconds,
                           static_cast<double>(file.file_bytes()) / (1 << 20),
                           flags.shape.empty() ? "" : ", of which nothing was written"));
    TRY(fits);
    return kDone;
}

Result<int> plan_shape(const PlanFlags& flags, Clock::time_point start) {
    TRY_ASSIGN(const ShapeDocument shape, find_shape(flags.shape));
    TRY_ASSIGN(const ModelInMemory model, synthesize_headers(shape, flags.synth));
    TRY_ASSIGN(const EngineSettings settings, engine_settings(flags.machine, flags.shape));
    return print_plan(flags, settings, model.checkpoint, start);
}

Result<void> check_flags_of_plan(const Arguments& given) {
    for (const char* const of_model : {"model", "--check"})
        TRY(check_apart(given, "--shape", of_model, "a shape is planned without a file"));
    for (const char* const of_shape : {"--layers", "--format"}) {
        if (was_given(given, of_shape) && !was_given(given, "--shape"))
            return fail("{} is about a shape, and a file has its own; add --shape or leave it out", of_shape);
    }
    return {};
}

Result<int> plan(const PlanFlags& flags, const Arguments& given) {
    TRY(check_flags_of_plan(given));
    const auto start = Clock::now();
    if (!flags.shape.empty()) return plan_shape(flags, start);
    TRY_ASSIGN(const std::string path, model_path(flags.model));
    TRY_ASSIGN(const EngineSettings settings, engine_settings(flags.machine, path));
    if (flags.check) return check(flags, settings);
    TRY_ASSIGN(const Checkpoint file, Checkpoint::open(settings.model));
    return print_plan(flags, settings, file, start);
}

}  // namespace

Command plan_command() {
    auto flags = std::make_shared<PlanFlags>();
    return {
        .name = "plan",
        .summary = "Print every byte a model would take, before loading any",
        .settings = {{"",
                      {
                          {"model", model_name(flags->model),
                           "GGUF file (any part of a split one) or model directory; default: the demonstration model"},
                          {"--json", flag(flags->json), "Print JSON"},
                          {"--summary", flag(flags->summary), "Totals only"},
                          {"--check", flag(flags->check),
                           "Load the model and compare it with its plan: every entry, and the memory that the "
                           "system counts"},
                          {"--shape", text(flags->shape),
                           "Plan this shape of invar synth in place of a file; nothing is written"},
                          {"--format", text(flags->synth.mix), "With --shape: its format, as for invar synth"},
                          {"--layers", number(flags->synth.layers, 0), "With --shape: only so many layers; 0: all"},
                      }},
                     model_settings(flags->machine)},
        .footer =
            "--check ends with 1 if an entry differs or the memory is off by more than 3 %, a device's by "
            "2 %.\n"
            "Examples:\n  invar plan model.gguf\n"
            "  invar plan model.gguf --context 32768 --cache f32 --summary\n"
            "  invar plan model.gguf --check --summary\n"
            "  invar plan --shape gpt-oss-120b --format mxfp4 --context 131072 --summary",
        .run = [flags](const Arguments& given) { return plan(*flags, given); }};
}

}  // namespace invar::app
