// invar eval MODEL TEXTFILE: the perplexity of a model on a text, and its distance from another model or from the
// float64 reference.
#include <chrono>

#include "app/output.h"
#include "app/settings.h"
#include "arithmetic/version.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "files/checkpoint_digest.h"
#include "files/output_path.h"
#include "files/printable.h"
#include "proof/eval/eval_run.h"
#include "proof/reference64/reference64.h"
#include "text/tokenizer/from_checkpoint.h"

namespace invar::app {
namespace {

constexpr std::string_view kReference = "reference64";
constexpr int64_t kDefaultWindow = 512;
// Rows of logits are wide: with 151,936 tokens, 128 rows take 78 MiB. No result depends on the chunk.
constexpr int64_t kMostChunk = 128;

struct EvalFlags {
    ModelSettings machine;
    std::string model, text, against, state;
    int64_t stride = 0, windows = 0;
    bool parse_specials = false, json = false;
};

// A runner that is ready: an engine or the reference.
struct OpenedModel {
    std::unique_ptr<Engine> engine;
    std::unique_ptr<ModelRunner> runner;
};

Result<OpenedModel> open_engine(const ModelSettings& given, const std::string& path, int64_t context) {
    TRY_ASSIGN(EngineSettings settings, engine_settings(given, path));
    settings.context = context;
    settings.chunk = std::min({settings.chunk, kMostChunk, context});
    settings.logits_rows = settings.chunk;
    ProgressBar bar("loading");
    OpenedModel opened;
    TRY_ASSIGN(opened.engine, Engine::open(settings, [&](int64_t done, int64_t total) { bar.show(done, total); }));
    bar.clear();
    TRY(check_makes_logits(*opened.engine));
    say_placement(opened.engine->plan());
    opened.runner = std::make_unique<EngineRunner>(*opened.engine);
    return opened;
}

Result<OpenedModel> open_other(const EvalFlags& flags, int64_t context) {
    if (flags.against != kReference) return open_engine(flags.machine, flags.against, context);
    OpenedModel opened;
    TRY_ASSIGN(opened.runner,
               Reference64::open({.model = flags.model,
                                  .threads = flags.machine.engine.threads,
                                  .context = context,
                                  .chunk = std::min({flags.machine.engine.chunk, kMostChunk, context})}));
    return opened;
}

// The text of each token.
Result<std::vector<std::string>> tokens_of(const Checkpoint& file) {
    TRY_ASSIGN(const Tokenizer tokenizer, read_tokenizer(file));
    std::vector<std::string> tokens;
    for (int32_t token = 0; token < tokenizer.size(); ++token)
        tokens.push_back(tokenizer.has(token) ? tokenizer.piece(token) : std::string());
    return tokens;
}

// Models can be compared token by token only if each token has the same text in both.
Result<void> check_same_tokens(const Checkpoint& file, const std::string& other_path) {
    TRY_ASSIGN(const Checkpoint other, Checkpoint::open(other_path));
    TRY_ASSIGN(const std::vector<std::string> mine, tokens_of(file));
    TRY_ASSIGN(const std::vector<std::string> theirs, tokens_of(other));
    const size_t common = std::min(mine.size(), theirs.size());
    for (size_t i = 0; i < common; ++i) {
        if (mine[i] == theirs[i]) continue;
        return fail(
            "{} and {} have different tokens: {} is '{}' in the first and '{}' in the second; compare models of "
            "one vocabulary",
            file.name(), other.name(), i, printable(mine[i]), printable(theirs[i]));
    }
    if (mine.size() != theirs.size()) {
        return fail("{} has {} tokens and {} has {}; compare models of one vocabulary", file.name(), mine.size(),
                    other.name(), theirs.size());
    }
    return {};
}

Result<EvalText> read_text(const EvalFlags& flags, const Checkpoint& file) {
    TRY_ASSIGN(const Tokenizer tokenizer, read_tokenizer(file));
    TRY_ASSIGN(const MappedFile bytes, MappedFile::open(flags.text));
    const std::string_view text(reinterpret_cast<const char*>(bytes.bytes().data()), bytes.bytes().size());
    const auto specials = flags.parse_specials ? Tokenizer::Specials::parse : Tokenizer::Specials::as_text;
    auto tokens = tokenizer.encode(text, specials, Tokenizer::Ends::none);
    if (!tokens) return fail("{}: {}", flags.text, tokens.error().message);
    return EvalText{.tokens = std::move(*tokens),
                    .bos = tokenizer.adds_bos() ? tokenizer.bos() : std::optional<int32_t>()};
}

Result<EvalIdentity> identity_of(const EvalFlags& flags, const Checkpoint& file, const EvalText& text,
                                 const WindowSettings& settings) {
    TRY_ASSIGN(const std::string model, digest_of(file));
    EvalIdentity identity = {{"model", model},
                             {"against", flags.against.empty() ? "nothing" : std::string(kReference)},
                             {"text", hash_of(std::as_bytes(std::span(text.tokens)))},
                             {"bos", text.bos ? std::to_string(*text.bos) : "none"},
                             {"context", std::to_string(settings.context)},
                             {"stride", std::to_string(settings.stride)},
                             {"cache", std::string(cache_type_name(flags.machine.engine.cache_type))},
                             {"arithmetic", fmt::format("{}", kArithmeticVersion)}};
    if (!flags.against.empty() && flags.against != kReference) {
        TRY_ASSIGN(const Checkpoint other, Checkpoint::open(flags.against));
        TRY_ASSIGN(identity[1].second, digest_of(other));
    }
    return identity;
}

// Shows progress: a bar on a terminal, otherwise a line every ten seconds.
class EvalNews {
  public:
    bool tell(const EvalScores& scores, int64_t windows) {
        double sum = 0;
        for (const double log_p : scores.log_p) sum -= log_p;
        const double perplexity = std::exp(sum / static_cast<double>(scores.count()));
        if (stderr_is_terminal()) {
            bar_.set_label(fmt::format("perplexity {:<10.4f}", perplexity));
            bar_.show(scores.windows, windows);
        } else if (const auto now = Clock::now(); now >= due_ || scores.windows == windows) {
            print_note(fmt::format("{} of {} windows: perplexity {:.4f} over {} tokens", scores.windows, windows,
                                   perplexity, scores.count()));
            due_ = now + std::chrono::seconds(10);
        }
        return true;
    }

  private:
    using Clock = std::chrono::steady_clock;
    ProgressBar bar_{"perplexity"};
    Clock::time_point due_ = Clock::now() + std::chrono::seconds(10);
};

Result<WindowSettings> window_settings(const EvalFlags& flags, const Checkpoint& file) {
    WindowSettings settings{.context = flags.machine.engine.context, .stride = flags.stride};
    if (settings.context == 0) {
        TRY_ASSIGN(const Architecture* architecture, find_architecture(file));
        TRY_ASSIGN(const ModelConfig config, architecture->read_config(file));
        settings.context = std::min(kDefaultWindow, config.context_length);
    }
    if (settings.stride == 0) settings.stride = std::max<int64_t>(1, settings.context / 2);
    return settings;
}

// Neither model may lose a file to the scores.
Result<void> check_state(const EvalFlags& flags, const Checkpoint& file) {
    TRY(check_output(file, flags.state));
    if (flags.against.empty() || flags.against == kReference) return {};
    TRY_ASSIGN(const Checkpoint other, Checkpoint::open(flags.against));
    return check_output(other, flags.state);
}

Result<int> evaluate(const EvalFlags& flags) {
    TRY_ASSIGN(const Checkpoint file, Checkpoint::open(flags.model));
    if (!flags.state.empty()) TRY(check_state(flags, file));
    EvalRequest request{.state = flags.state, .most_windows = flags.windows};
    TRY_ASSIGN(request.text, read_text(flags, file));
    TRY_ASSIGN(const WindowSettings settings, window_settings(flags, file));
    TRY_ASSIGN(request.windows, cut_windows(request.text, settings));
    if (!flags.against.empty() && flags.against != kReference) TRY(check_same_tokens(file, flags.against));
    if (!flags.state.empty()) {
        TRY_ASSIGN(request.identity, identity_of(flags, file, request.text, settings));
    }
    TRY_ASSIGN(const OpenedModel model, open_engine(flags.machine, flags.model, settings.context));
    OpenedModel other;
    if (!flags.against.empty()) {
        TRY_ASSIGN(other, open_other(flags, settings.context));
    }
    TRY_ASSIGN(const auto pool, ThreadPool::create({.threads = model.engine->machine().threads}));
    EvalNews news;
    TRY_ASSIGN(const EvalScores scores,
               run_eval({.model = *model.runner, .other = other.runner.get(), .pool = *pool}, request,
                        [&](const EvalScores& so_far, int64_t windows) { return news.tell(so_far, windows); }));
    const EvalReport report{.model = flags.model,
                            .other = flags.against,
                            .text = flags.text,
                            .text_tokens = static_cast<int64_t>(request.text.tokens.size()),
                            .windows_done = scores.windows,
                            .windows = static_cast<int64_t>(request.windows.size()),
                            .settings = settings,
                            .summary = summarise(scores)};
    if (flags.json) {
        print_json(eval_as_json(report));
    } else {
        print_result(eval_as_text(report));
    }
    return kDone;
}

}  // namespace

Command eval_command() {
    auto flags = std::make_shared<EvalFlags>();
    return {.name = "eval",
            .summary = "Measure how well a model predicts a text, and how far it is from another model",
            .settings = {{"",
                          {
                              {"model", model_name(flags->model), "GGUF file or model directory", kRequired},
                              {"text", text(flags->text), "UTF-8 text file", kRequired},
                              {"--against", text(flags->against),
                               "Another GGUF file or model directory of the same vocabulary, or reference64: this "
                               "model in float64 (slow)"},
                              {"--stride", number(flags->stride, 0),
                               "Tokens from one window to the next; 0: half of --context (default: 512)"},
                              {"--windows", number(flags->windows, 0), "Stop after so many windows; 0: all"},
                              {"--state", text(flags->state),
                               "Keep the scores in this file (SafeTensors), and resume from it if it exists"},
                              {"--parse-special", flag(flags->parse_specials),
                               "Read special tokens that are spelled out in the text as tokens"},
                              {"--json", flag(flags->json), "Print JSON"},
                          }},
                         model_settings(flags->machine)},
            .footer =
                "Examples:\n  invar eval model-q4_k_m.gguf book.txt\n"
                "  invar eval model-q4_k_m.gguf book.txt --against model-bf16.gguf --state book.safetensors\n"
                "  invar eval model.gguf book.txt --against reference64 --windows 2",
            .run = [flags](const Arguments&) { return evaluate(*flags); }};
}

}  // namespace invar::app
