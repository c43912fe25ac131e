// invar quantize IN OUT MIX: writes a smaller file and reports each tensor's new format and the error it caused.
#include "app/output.h"
#include "app/settings.h"
#include "base/json.h"
#include "make/quantize.h"

#include <fmt/format.h>

namespace invar::app {
namespace {

struct QuantizeFlags {
    std::string in, out, mix;
    int threads = 0;
    bool allow_requantize = false, no_vocabulary = false, json = false, dry_run = false, quiet = false;
};

std::string mix_list() {
    std::string list = "Mixes:\n";
    for (const Mix& mix : mixes()) list += fmt::format("  {:<8} {}\n", mix.name, mix.summary);
    return list +
           "Example:\n  invar quantize model-bf16.gguf model-q4_k_m.gguf q4_k_m\n"
           "  invar quantize Qwen3-4B qwen3-4b-q4_k_m.gguf q4_k_m";
}

void print_report(const QuantizeReport& report, bool measured) {
    for (const QuantizedTensor& tensor : report.tensors) {
        std::string note;
        if (tensor.target != tensor.wanted)
            note = fmt::format("  (the columns are no multiple of {}'s block)", tensor.wanted->name);
        const std::string error = measured ? fmt::format("{:>10.5f}", tensor.relative_rms_error) : std::string();
        print_result(fmt::format("{:<34} {:<20} {:>5} -> {:<7} {:>12}{}{}\n", tensor.name,
                                 fmt::format("{}", fmt::join(tensor.shape, " x ")), tensor.source->name,
                                 tensor.target->name, tensor.bytes, error, note));
    }
}

Result<int> quantize_model(const QuantizeFlags& flags) {
    if (flags.out == "-") return fail("a GGUF file cannot be written to standard output ('-'); write to a file");
    TRY_ASSIGN(const Checkpoint in, Checkpoint::open(flags.in));
    const QuantizeOptions options{.mix = flags.mix,
                                  .allow_requantize = flags.allow_requantize,
                                  .vocabulary = !flags.no_vocabulary,
                                  .threads = flags.threads};
    QuantizeReport report;
    if (flags.dry_run) {
        TRY_ASSIGN(report, plan_quantize(in, options));
    } else {
        ProgressBar bar("quantizing");
        TRY_ASSIGN(report, quantize(in, options, flags.out, [&](const QuantizeProgress& progress) {
                       bar.show(static_cast<int64_t>(progress.source_bytes_done),
                                static_cast<int64_t>(progress.source_bytes));
                       return true;
                   }));
    }
    for (const std::string& note : report.notes) print_note("note: " + note);
    if (flags.json) {
        print_json(quantize_report_as_json(report));
        return kDone;
    }
    if (!flags.quiet) print_report(report, !flags.dry_run);
    print_note(fmt::format(
        "{}: {} weights, {:.1f} -> {:.1f} MiB, {:.2f} bits a weight{}", flags.dry_run ? "would write" : flags.out,
        report.weights, static_cast<double>(report.source_bytes) / (1 << 20),
        static_cast<double>(report.bytes) / (1 << 20), report.bits_per_weight(),
        report.fallbacks > 0 ? fmt::format(", {} tensors in another format than wanted", report.fallbacks) : ""));
    return kDone;
}

}  // namespace

Command quantize_command() {
    auto flags = std::make_shared<QuantizeFlags>();
    return {.name = "quantize",
            .summary = "Write a model, a GGUF file or a directory, as a GGUF file in a smaller format",
            .settings = {{"",
                          {
                              {"in", model_name(flags->in), "GGUF file or model directory to read", kRequired},
                              {"out", text(flags->out), "GGUF file to write; appears whole or not at all", kRequired},
                              {"mix", text(flags->mix), "Format or mix, e.g. q4_k_m", kRequired},
                              {"--threads", number(flags->threads, 0, 4096), "Threads; 0: one for each CPU"},
                              {"--allow-requantize", flag(flags->allow_requantize),
                               "Accept input that has lost accuracy already"},
                              {"--no-vocabulary", flag(flags->no_vocabulary),
                               "Leave out a directory's tokenizer: the file then takes token ids only"},
                              {"--dry-run", flag(flags->dry_run), "Only print what would be written"},
                              {"--quiet", flag(flags->quiet), "Print the summary only"},
                              {"--json", flag(flags->json), "Print JSON"},
                          }}},
            .footer = mix_list(),
            .run = [flags](const Arguments&) { return quantize_model(*flags); }};
}

}  // namespace invar::app
