// invar verify [MODEL]: every path of this machine, stage by stage, bit for bit, and the distance to float64.
#include "app/output.h"
#include "app/settings.h"
#include "proof/verify.h"
#include "proof/verify_report.h"

namespace invar::app {
namespace {

struct VerifyFlags {
    ModelFlags model_flags;
    std::string model, only;
    double seconds = 8;
    bool no_accuracy = false, each = false, json = false;
};

Result<int> verify_model(const VerifyFlags& flags) {
    TRY_ASSIGN(const std::string model, model_path(flags.model));
    VerifySettings settings;
    TRY_ASSIGN(settings.engine, engine_settings(flags.model_flags, model));
    settings.only = flags.only;
    settings.seconds_of_path = flags.seconds;
    settings.accuracy = !flags.no_accuracy;
    ProgressBar bar("verify");
    settings.progress = [&](const std::string&, int64_t done, int64_t total) { bar.show(done, total); };
    TRY_ASSIGN(const VerifyReport report, verify(settings));
    bar.clear();
    if (flags.json) {
        print_json(verify_as_json(report));
    } else {
        print_result(verify_as_text(report, flags.each));
    }
    return report.all_equal() ? kDone : kDifferent;
}

}  // namespace

void add_verify_command(CLI::App& cli, Action& action) {
    auto flags = std::make_shared<VerifyFlags>();
    CLI::App* command = cli.add_subcommand("verify", "Show that every path of this machine computes the same bits");
    command->add_option("model", flags->model, "GGUF file (default: the demonstration model)");
    command->add_option("--seconds", flags->seconds, "Time for a path; a slower one computes fewer positions")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    command->add_flag("--no-accuracy", flags->no_accuracy, "Leave out the distance to the float64 reference");
    command->add_option("--only", flags->only, "Only paths whose name this glob fits, e.g. 'avx512*'");
    command->add_flag("--each", flags->each, "Print a line for every schedule of every path");
    command->add_flag("--json", flags->json, "Print JSON");
    command->footer(
        "Exit status: 0 equal, 1 different, 2 could not run.\n"
        "Examples:\n  invar verify\n  invar verify model.gguf --json\n  invar verify model.gguf --html report.html");
    add_model_flags(*command, flags->model_flags);
    command->callback([flags, &action] { action = [flags] { return verify_model(*flags); }; });
}

}  // namespace invar::app
