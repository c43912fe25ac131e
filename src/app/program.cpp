#include "app/program.h"

#include "arithmetic/version.h"

namespace invar::app {
namespace {

constexpr const char* kExamples =
    "Examples:\n"
    "  invar run \"What is the capital of France?\"        ask the demonstration model\n"
    "  invar run model.gguf                               talk to a model; Ctrl-C stops an answer, Ctrl-D leaves\n"
    "  invar run model.gguf \"Why is the sky blue?\" --json  one answer, as JSON\n"
    "  invar embed MODEL_DIRECTORY \"A sentence\" --json    its vector, for search\n"
    "  invar plan model.gguf                              every byte that would be loaded, before loading any\n"
    "  invar bench model.gguf --threads 2                 speed, as shares of what the machine can do\n"
    "  invar quantize model-f16.gguf out.gguf q4_k_m      make a smaller file\n"
    "  invar COMMAND --help                               all options of a command\n"
    "Exit status: 0 done (equal), 1 different (or something found), 2 could not run, 3 too little memory, 4 a number "
    "that "
    "is not finite, 5 the device failed; docs/proof.md has the table.";

}  // namespace

Program program() {
    return {.name = "invar",
            .summary = "invar runs quantised language models and computes the same bits everywhere.",
            .version = fmt::format("invar 0.1.0, arithmetic {}", kArithmeticVersion),
            .footer = kExamples,
            .commands = {run_command(), plan_command(), inspect_command(), tokenize_command(), logits_command(),
                         bench_command(), quantize_command(), verify_command(), synth_command(), models_command(),
                         trace_command(), audit_command(), eval_command(), diff_command(), embed_command()}};
}

}  // namespace invar::app
