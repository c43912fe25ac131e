// invar diff A B: compares two checkpoints of one model, weight by weight and by running both on a text.
#include "app/output.h"
#include "app/settings.h"
#include "app/trace.h"
#include "arithmetic/philox.h"
#include "base/json.h"
#include "proof/diff/diff_checkpoints.h"
#include "text/tokenizer/from_checkpoint.h"

namespace invar::app {
namespace {

constexpr const char* kDefaultText =
    "The quick brown fox jumps over the lazy dog. In 1969, two people walked on the Moon; 23 * 17 = 391.\n"
    "def square(x):\n    return x * x\n\nWhat is the capital of France? The capital of France is Paris.";

// Where there is no tokenizer.
constexpr int64_t kRandomTokens = 64;
constexpr uint64_t kRandomSeed = 0;

struct DiffFlags {
    ModelSettings machine;
    std::string a, b;
    std::optional<std::string> prompt, inject;
    std::vector<int32_t> tokens;
    bool weights_only = false, all = false, json = false;
};

// Ids that both vocabularies have, the same on every machine.
std::vector<int32_t> random_tokens(const CheckpointMatch& match) {
    const int64_t count = std::min({kRandomTokens, match.a.context_length, match.b.context_length});
    const auto vocabulary = static_cast<double>(std::min(match.a.vocabulary, match.b.vocabulary));
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < count; ++i)
        tokens.push_back(static_cast<int32_t>(law::uniform(kRandomSeed, static_cast<uint64_t>(i)) * vocabulary));
    return tokens;
}

Result<std::vector<int32_t>> text_tokens(const DiffFlags& flags, const Checkpoint& file) {
    TRY_ASSIGN(const Tokenizer tokenizer, read_tokenizer(file));
    return tokenizer.encode(flags.prompt.value_or(kDefaultText), Tokenizer::Specials::parse, Tokenizer::Ends::add);
}

// What both are run on: the ids that were given, or those of the text by the first tokenizer that takes it. Where
// none can, random ids, and in not_compared why.
Result<std::vector<int32_t>> tokens_to_run(const DiffFlags& flags, const Checkpoint& a, const Checkpoint& b,
                                           CheckpointDiff& diff) {
    if (!flags.tokens.empty()) return flags.tokens;
    std::string reasons;
    for (const Checkpoint* file : {&a, &b}) {
        const Result<std::vector<int32_t>> tokens = text_tokens(flags, *file);
        if (tokens) return tokens;
        const std::string& reason = tokens.error().message;
        const bool named = reason.starts_with(file->name());
        reasons += fmt::format("{}{}{}", reasons.empty() ? "" : "; ", named ? "" : file->name() + ": ", reason);
    }
    std::vector<int32_t> tokens = random_tokens(diff.match);
    diff.not_compared.push_back(
        fmt::format("text, for which neither has a usable tokenizer ({}); both ran on {} random token ids below {} "
                    "instead (Philox, seed {})",
                    reasons, tokens.size(), std::min(diff.match.a.vocabulary, diff.match.b.vocabulary), kRandomSeed));
    return tokens;
}

Result<std::unique_ptr<Engine>> open_for(const DiffFlags& flags, const std::string& model, int64_t tokens) {
    TRY_ASSIGN(EngineSettings settings, engine_settings(flags.machine, model));
    settings.chunk = std::min<int64_t>(settings.chunk, tokens);
    settings.logits_rows = settings.chunk;
    if (settings.context == 0) settings.context = tokens;
    ProgressBar bar("loading");
    return Engine::open(settings, [&](int64_t done, int64_t total) { bar.show(done, total); });
}

struct RunOfA {
    ResidualRun residuals;
    Recording verbs;
};

Result<RunOfA> run_a(const DiffFlags& flags, std::span<const int32_t> tokens) {
    TRY_ASSIGN(const std::unique_ptr<Engine> engine, open_for(flags, flags.a, std::ssize(tokens)));
    EngineRunner runner(*engine);
    RunOfA run;
    TRY_ASSIGN(run.residuals, run_residuals(runner, tokens));
    TRY_ASSIGN(run.verbs, record_verbs(runner, tokens));
    return run;
}

// B, with the fault if one is given. It may damage a run so much that there is no drift.
Result<void> run_b(const DiffFlags& flags, std::span<const int32_t> tokens, const RunOfA& of_a, CheckpointDiff& diff) {
    TRY_ASSIGN(const std::unique_ptr<Engine> engine, open_for(flags, flags.b, std::ssize(tokens)));
    TRY_ASSIGN(const std::string fault, flags.inject ? fault_text(*flags.inject) : Result<std::string>(""));
    EngineRunner runner(*engine);
    TRY_ASSIGN(diff.verbs, compare_verbs(runner, of_a.verbs, diff.tensors, fault));
    TRY_ASSIGN(const std::unique_ptr<FaultHook> hook, injected_fault(fault, *engine));
    std::vector<VerbHook*> hooks;
    if (hook) hooks.push_back(hook.get());
    TRY_ASSIGN(const ResidualRun residuals, run_residuals(runner, tokens, hooks));
    diff.drift = compare_runs(of_a.residuals, residuals);
    return {};
}

// The runs on the prompt, or in not_compared why there are none: what is wrong with the weights is told anyway.
Result<void> add_runs(const DiffFlags& flags, const Checkpoint& a, const Checkpoint& b, CheckpointDiff& diff) {
    if (flags.weights_only) return {};
    if (!diff.match.missing.empty() || !diff.match.extra.empty()) {
        diff.not_compared.push_back("runs: the files do not hold the same tensors");
        return {};
    }
    TRY_ASSIGN(const std::vector<int32_t> tokens, tokens_to_run(flags, a, b, diff));
    if (tokens.empty()) return fail("the prompt has no tokens; give --prompt or --tokens");
    const auto of_a = run_a(flags, tokens);
    const Result<void> ran = of_a ? run_b(flags, tokens, *of_a, diff) : Result<void>(tl::unexpected(of_a.error()));
    if (ran) return {};
    // Damaged weights or a fault may well make a run fail, and then the report says so. Without suspicions the failure
    // is an error.
    if (diff.suspicions() == 0) return tl::unexpected<Error>(ran.error());
    diff.not_compared.push_back("runs: " + ran.error().message);
    return {};
}

Result<void> check_flags_of_diff(const Arguments& given) {
    TRY(check_apart(given, "--tokens", "--prompt", "each says what to run on"));
    for (const char* const of_run : {"--inject", "--prompt", "--tokens"})
        TRY(check_apart(given, of_run, "--weights-only", "the first is about a run and with the second nothing runs"));
    return {};
}

Result<int> diff_models(const DiffFlags& flags, const Arguments& given) {
    TRY(check_flags_of_diff(given));
    if (flags.inject) {
        TRY_ASSIGN(const std::string text, fault_text(*flags.inject));
        TRY(parse_fault(text));
    }
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
    TRY(add_runs(flags, a, b, diff));
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
            .settings =
                {{"",
                  {
                      {"a", model_name(flags->a), "Model: a GGUF file or a directory, the original", kRequired},
                      {"b", model_name(flags->b), "The same model, e.g. in another format or container", kRequired},
                      {"--prompt", text(flags->prompt),
                       "Text to run both on; default: a built-in one, or random token ids where there is no tokenizer"},
                      {"--tokens", numbers(flags->tokens, 0), "Token ids instead of a text"},
                      {"--weights-only", flag(flags->weights_only), "Run nothing"},
                      {"--inject", text(flags->inject),
                       "Put this fault into B's run, to see it found (see invar verify --help; @FILE: read it)"},
                      {"--all", flag(flags->all), "A line for every tensor"},
                      {"--json", flag(flags->json), "Print JSON"},
                  }},
                 model_settings(flags->machine)},
            .footer =
                "The first line is the verdict. Ends with 1 if something is suspicious: a distance that the formats do "
                "not explain. Quantisation alone is not.\n"
                "Examples:\n  invar diff model-bf16.gguf model-q4_k_m.gguf\n"
                "  invar diff model-directory model.gguf --weights-only --all\n"
                "  invar diff model-directory model.gguf --inject inverted_global_scale@layer=3",
            .run = [flags](const Arguments& given) { return diff_models(*flags, given); }};
}

}  // namespace invar::app
