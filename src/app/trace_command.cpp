// invar trace record | show | diff | replay: records the results of every stage of a pass in a file, shows them,
// compares them with another recording, and replays them verb by verb. Each subcommand has its own file beside this
// one.
#include "app/output.h"
#include "app/settings.h"
#include "app/trace.h"

namespace invar::app {

Result<std::unique_ptr<FaultHook>> injected_fault(const std::string& given, const Engine& engine) {
    if (given.empty()) return nullptr;
    TRY_ASSIGN(const std::string text, fault_text(given));
    return make_fault(text, engine.config(), engine.plan());
}

Result<void> report_fault(const FaultHook* fault, const std::string& given) {
    if (fault == nullptr) return {};
    if (!fault->report().struck) return fail("--inject {}: the fault changed no bit of this run", given);
    print_note(fmt::format("a fault was injected (--inject {}) and changed {} results", given, fault->report().rows));
    return {};
}

std::string description_of(const Recording& recording) {
    std::string text;
    for (const char* key : {"model", "engine", "runner", "dtype"}) {
        const auto found = recording.metadata.find(key);
        if (found != recording.metadata.end()) text += fmt::format("{}, ", found->second);
    }
    const int64_t stages = std::ssize(recording.stages);
    return text + fmt::format("{}, {}{}", counted(std::ssize(recording.tokens), "token", "tokens"),
                              counted(stages, "stage", "stages"),
                              recording.statistics_only() ? ", statistics only" : "");
}

Command trace_command() {
    return {.name = "trace",
            .summary = "Record, show, compare and replay every stage of a pass",
            .footer =
                "A recording is a SafeTensors file, one tensor a stage: numpy and torch open it "
                "(safetensors.numpy.load_file).\n"
                "Examples:\n"
                "  invar trace record model.gguf \"Hello\" --out a.safetensors\n"
                "  invar trace show a.safetensors 'layer.3.*'\n"
                "  invar trace diff a.safetensors b.safetensors       the first stage that differs, and how\n"
                "  invar trace replay model.gguf a.safetensors        which verb is wrong, whatever it was given\n"
                "  invar trace record --help                          all options of a command",
            .commands = {trace_record_command(), trace_show_command(), trace_diff_command(), trace_replay_command()}};
}

}  // namespace invar::app
