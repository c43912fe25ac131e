// The command line: parses, runs the chosen command, prints an error as one sentence on stderr, and exits with its
// code.
#include "app/cli.h"
#include "app/output.h"
#include "arithmetic/version.h"
#include "base/error_kind.h"

namespace invar::app {
namespace {

constexpr const char* kExamples =
    "Examples:\n"
    "  invar run \"What is the capital of France?\"        ask the demonstration model\n"
    "  invar run model.gguf                               talk to a model; Ctrl-C stops an answer, Ctrl-D leaves\n"
    "  invar run model.gguf \"Why is the sky blue?\" --json  one answer, as JSON\n"
    "  invar plan model.gguf                              every byte that would be loaded, before loading any\n"
    "  invar bench model.gguf --threads 2                 speed, as shares of what the machine can do\n"
    "  invar quantize model-f16.gguf out.gguf q4_k_m      make a smaller file\n"
    "  invar COMMAND --help                               all options of a command";

int run(int argc, char** argv) {
    CLI::App cli("invar runs quantised language models and computes the same bits everywhere.", "invar");
    cli.set_version_flag("--version", fmt::format("invar 0.1.0, arithmetic {}", kArithmeticVersion));
    cli.footer(kExamples);
    cli.require_subcommand(0, 1);
    Action action;
    add_run_command(cli, action);
    add_plan_command(cli, action);
    add_inspect_command(cli, action);
    add_tokenize_command(cli, action);
    add_logits_command(cli, action);
    add_bench_command(cli, action);
    add_quantize_command(cli, action);
    add_verify_command(cli, action);
    add_synth_command(cli, action);
    add_models_command(cli, action);
    add_trace_command(cli, action);
    add_audit_command(cli, action);
    add_eval_command(cli, action);
    add_diff_command(cli, action);
    try {
        cli.parse(argc, argv);
    } catch (const CLI::CallForHelp& help) {
        return cli.exit(help);
    } catch (const CLI::CallForAllHelp& help) {
        return cli.exit(help);
    } catch (const CLI::CallForVersion& version) {
        return cli.exit(version);
    } catch (const CLI::ParseError& error) {
        print_error(fmt::format("{}; see invar --help", error.what()));
        return kCouldNotRun;
    }
    if (!action) {
        print_result(cli.help());
        return kDone;
    }
    const Result<int> code = action();
    if (!code) {
        print_error(code.error().message);
        return facts_of(code.error().kind).exit_code;
    }
    if (!flush_results()) {
        print_error("standard output could not be written; is the disk full or the reader gone?");
        return kCouldNotRun;
    }
    return *code;
}

}  // namespace
}  // namespace invar::app

int main(int argc, char** argv) { return invar::app::run(argc, argv); }
