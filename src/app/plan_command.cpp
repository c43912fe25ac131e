// invar plan MODEL: prints the weight plan, which needs the header alone. --check loads the model and compares it with
// its plan.
#include <chrono>

#include "app/output.h"
#include "app/settings.h"
#include "base/json.h"
#include "proof/verify/plan_check.h"

namespace invar::app {
namespace {

struct PlanFlags {
    ModelSettings machine;
    std::string model;
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

Result<int> plan(const PlanFlags& flags) {
    const auto start = std::chrono::steady_clock::now();
    TRY_ASSIGN(const std::string path, model_path(flags.model));
    TRY_ASSIGN(const EngineSettings settings, engine_settings(flags.machine, path));
    if (flags.check) return check(flags, settings);
    TRY_ASSIGN(const Checkpoint file, Checkpoint::open(settings.model));
    TRY_ASSIGN(PlannedModel planned, plan_model(file, settings));
    plan_with_cache(planned.plan, file, settings.weight_cache.folder);
    if (flags.json) {
        print_json(plan_as_json(planned.plan));
        return kDone;
    }
    print_result(plan_as_table(planned.plan, !flags.summary));
    const double milliseconds =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    print_note(fmt::format("planned in {:.1f} ms from the header of {:.1f} MiB of file", milliseconds,
                           static_cast<double>(file.file_bytes()) / (1 << 20)));
    return kDone;
}

}  // namespace

Command plan_command() {
    auto flags = std::make_shared<PlanFlags>();
    return {
        .name = "plan",
        .summary = "Print every byte a model would take, before loading any",
        .settings = {{"",
                      {
                          {"model", text(flags->model),
                           "GGUF file (any part of a split one) or model directory; default: the demonstration model"},
                          {"--json", flag(flags->json), "Print JSON"},
                          {"--summary", flag(flags->summary), "Totals only"},
                          {"--check", flag(flags->check),
                           "Load the model and compare it with its plan: every entry, and the memory that the "
                           "system counts"},
                      }},
                     model_settings(flags->machine)},
        .footer =
            "--check ends with 1 if an entry differs or the memory is off by more than 3 %, a device's by "
            "2 %.\n"
            "Examples:\n  invar plan model.gguf\n"
            "  invar plan model.gguf --context 32768 --cache f32 --summary\n"
            "  invar plan model.gguf --check --summary",
        .run = [flags](const Arguments&) { return plan(*flags); }};
}

}  // namespace invar::app
