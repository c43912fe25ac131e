// invar synth SHAPE MIX OUT: a model of a real shape with random weights, for measuring a machine without a download.
#include "app/cli.h"
#include "app/output.h"
#include "make/quantize_mixes.h"
#include "make/synth.h"

namespace invar::app {
namespace {

struct SynthFlags {
    std::string shape, out;
    SynthOptions options;
};

Result<int> synth(const SynthFlags& flags) {
    TRY_ASSIGN(const SynthShape* shape, find_synth_shape(flags.shape));
    ProgressBar bar("writing");
    TRY_ASSIGN(const int64_t bytes, synthesize(*shape, flags.options, flags.out, [&](int64_t done, int64_t total) {
                   bar.show(done, total);
                   return true;
               }));
    bar.clear();
    const int layers = flags.options.layers > 0 ? flags.options.layers : shape->layers;
    print_note(fmt::format("{}: {} with {} layers, {} weights, {:.1f} MiB; the weights are random, so is the text",
                           flags.out, shape->name, layers, shape->weights(layers),
                           static_cast<double>(bytes) / (1 << 20)));
    return kDone;
}

}  // namespace

void add_synth_command(CLI::App& cli, Action& action) {
    auto flags = std::make_shared<SynthFlags>();
    CLI::App* command =
        cli.add_subcommand("synth", "Write a model of a real shape with random weights, to measure with");
    std::string names;
    for (const SynthShape& shape : synth_shapes()) names += fmt::format("{}{}", names.empty() ? "" : ", ", shape.name);
    command->add_option("shape", flags->shape, names)->required();
    command->add_option("mix", flags->options.mix, "Format or mix, as for invar quantize, e.g. q4_k_m")->required();
    command->add_option("out", flags->out, "GGUF file to write; appears whole or not at all")->required();
    command->add_option("--layers", flags->options.layers, "Only this many layers; 0: all");
    command->add_option("--seed", flags->options.seed, "Of the weights")->capture_default_str();
    command->footer(
        "Examples:\n  invar synth qwen3-4b q4_k_m qwen3-4b.gguf\n  invar synth qwen3-30b-a3b q4_k_m moe.gguf --layers "
        "12\n"
        "  invar bench qwen3-4b.gguf");
    command->callback([flags, &action] { action = [flags] { return synth(*flags); }; });
}

}  // namespace invar::app
