// invar diff A B: compares two checkpoints of one model, weight by weight and by running both on a text.
#include "app/output.h"
#include "app/settings.h"
#include "base/json.h"
#include "proof/diff/diff_checkpoints.h"
#include "text/tokenizer/from_checkpoint.h"

namespace invar::app {
namespace {

constexpr const char* kDefaultText =
    "The quick brown fox jumps over the lazy dog. In 1969, two people walked on the Moon; 23 * 17 = 391.\n"
    "def square(x):\n    return x * x\n\nWhat is the capital of France? The capital of France is Paris.";

struct DiffFlags {
    ModelSettings machine;
    std::string a, b, prompt;
    std::vector<int32_t> tokens;
    bool weights_only = false, all = false, json = false;
};

Result<std::vector<int32_t>> prompt_tokens(const DiffFlags& flags, const Checkpoint& file) {
    if (!flags.tokens.empty()) return flags.tokens;
    TRY_ASSIGN(const Tokenizer tokenizer, read_tokenizer(file));
    return tokenizer.encode(flags.prompt.empty() ? kDefaultText : flags.prompt, Tokenizer::Specials::parse,
                            Tokenizer::Ends::add);
}

Result<ResidualRun> run(const DiffFlags& flags, const std::string& model, std::span<const int32_t> tokens) {
    TRY_ASSIGN(EngineSettings settings, engine_settings(flags.machine, model));
    settings.chunk = std::min<int64_t>(settings.chunk, static_cast<int64_t>(tokens.size()));
    settings.logits_rows = settings.chunk;
    if (settings.context == 0) settings.context = static_cast<int64_t>(tokens.size());
    ProgressBar bar("loading");
    TRY_ASSIGN(const std::unique_ptr<Engine> engine,
               Engine::open(settings, [&](int64_t done, int64_t total) { bar.show(done, total); }));
    EngineRunner runner(*engine);
    return run_residuals(runner, tokens);
}

// Adds the drift on the prompt, or the reason why there is none to not_compared. The findings about weights are
// reported either way.
Result<void> add_drift(const DiffFlags& flags, const Checkpoint& a, CheckpointDiff& diff) {
    if (flags.weights_only) return {};
    if (!diff.match.missing.empty() || !diff.match.extra.empty()) {
        diff.not_compared.push_back("runs: the files do not hold the same tensors");
        return {};
    }
    TRY_ASSIGN(const std::vector<int32_t> tokens, prompt_tokens(flags, a));
    if (tokens.empty()) return fail("the prompt has no tokens; give --prompt or --tokens");
    auto run_a = run(flags, flags.a, tokens);
    auto run_b = run(flags, flags.b, tokens);
    for (const auto* one : {&run_a, &run_b}) {
        if (*one) continue;
        // Damaged weights may well make a run fail, and then the report says so. Without suspicions the failure is an
        // error.
        if (diff.suspicions() == 0) return tl::unexpected<Error>(one->error());
        diff.not_compared.push_back("runs: " + one->error().message);
        return {};
    }
    diff.drift = compare_runs(*run_a, *run_b);
    return {};
}

Result<int> diff_models(const DiffFlags& flags) {
    TRY_ASSIGN(const Checkpoint a, Checkpoint::open(flags.a));
    TRY_ASSIGN(const Checkpoint b, Checkpoint::open(flags.b));
    const int threads = flags.machine.engine.threads > 0 ? flags.machine.engine.threads : available_cpus();
    CheckpointDiff diff;
    {
        TRY_ASSIGN(const auto pool, ThreadPool::create({.threads = threads}));
        ProgressBar bar("comparing");
        TRY_ASSIGN(diff, diff_weights(a, b, *pool, [&](int64_t done, int64_t total) {
                       bar.show(done, total);
                       return true;
                   }));
    }
    TRY(add_drift(flags, a, diff));
    if (flags.json) {
        print_json(diff_as_json(diff));
    } else {
        print_result(diff_as_text(diff, flags.all));
    }
    return diff.suspicions() > 0 ? kDifferent : kDone;
}

}  // namespace

Command diff_command() {
    auto flags = std::make_shared<DiffFlags>();
    return {.name = "diff",
            .summary = "Compare two checkpoints of one model: weights, and a run on a text",
            .settings = {{"",
                          {
                              {"a", text(flags->a), "GGUF file or model directory, the original", kRequired},
                              {"b", text(flags->b),
                               "The same model in another file or directory, e.g. in another format", kRequired},
                              {"--prompt", text(flags->prompt), "Text to run both on; default: a built-in one"},
                              {"--tokens", numbers(flags->tokens, 0), "Token ids instead of a text"},
                              {"--weights-only", flag(flags->weights_only), "Compare the weights and run nothing"},
                              {"--all", flag(flags->all), "A line for every tensor"},
                              {"--json", flag(flags->json), "Print JSON"},
                          }},
                         model_settings(flags->machine)},
            .footer =
                "Ends with 1 if something is suspicious: a distance that the formats do not explain. Quantisation "
                "alone is not.\n"
                "Examples:\n  invar diff model-bf16.gguf model-q4_k_m.gguf\n"
                "  invar diff a.gguf b.gguf --weights-only --all",
            .run = [flags](const Arguments&) { return diff_models(*flags); }};
}

}  // namespace invar::app
