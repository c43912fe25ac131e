// invar synth SHAPE FORMAT OUT: writes a model of a real shape with random weights, so that a machine can be measured
// without a download. OUT is a GGUF file, or a directory in one of the dialects of published checkpoints.
#include "app/command.h"
#include "app/output.h"
#include "make/quantize_mixes.h"
#include "make/synth.h"
#include "make/synth_directory.h"
#include "make/synth_scheme.h"

namespace invar::app {
namespace {

struct SynthFlags {
    std::string shape, out;
    SynthOptions options;
};

Result<int> synth(const SynthFlags& flags) {
    TRY_ASSIGN(const ShapeDocument shape, find_shape(flags.shape));
    ProgressBar bar("writing");
    const auto show = [&](int64_t done, int64_t total) {
        bar.show(done, total);
        return true;
    };
    TRY_ASSIGN(const int64_t bytes, is_directory_format(flags.options.mix)
                                        ? synthesize_directory(shape, flags.options, flags.out, show)
                                        : synthesize(shape, flags.options, flags.out, show));
    bar.clear();
    TRY_ASSIGN(const ShapeDocument written, with_layers(shape, flags.options.layers));
    TRY_ASSIGN(const int64_t weights, weights_of(written));
    print_note(fmt::format("{}: {} with {}, {} weights, {:.1f} MiB; the weights are random, so is the text", flags.out,
                           shape.name, counted(written.layers(), "layer", "layers"), weights,
                           static_cast<double>(bytes) / (1 << 20)));
    return kDone;
}

}  // namespace

Command synth_command() {
    auto flags = std::make_shared<SynthFlags>();
    std::string names;
    for (const ShapeText& shape : shape_texts()) names += fmt::format("{}{}", names.empty() ? "" : ", ", shape.name);
    std::string directories;
    for (const DirectoryFormat& format : directory_formats()) directories += fmt::format(", {}", format.name);
    return {.name = "synth",
            .summary = "Write a model of a real shape with random weights, to measure with",
            .settings = {{"",
                          {
                              {"shape", text(flags->shape), names, kRequired},
                              {"format", text(flags->options.mix),
                               "Format or mix, as for invar quantize, e.g. q4_k_m; or of a directory" + directories,
                               kRequired},
                              {"out", text(flags->out), "GGUF file or directory to write; appears whole or not at all",
                               kRequired},
                              {"--layers", number(flags->options.layers, 0), "Only this many layers; 0: all"},
                              {"--seed", seed(flags->options.seed), "Seed of the weights; -1: a random one"},
                          }}},
            .footer =
                "Examples:\n  invar synth qwen3-4b q4_k_m qwen3-4b.gguf\n"
                "  invar synth qwen3-30b-a3b q4_k_m moe.gguf --layers 12\n"
                "  invar synth mistral-small-3.2-24b hf-nvfp4 mistral-small --layers 4\n"
                "  invar bench qwen3-4b.gguf",
            .run = [flags](const Arguments&) { return synth(*flags); }};
}

}  // namespace invar::app
