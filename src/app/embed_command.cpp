// invar embed MODEL [TEXT...]: a vector for each text, for search and comparison. The vectors are printed, written to a
// NumPy file, or compared with each other. generate/embedder.h computes them.
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "app/input_text.h"
#include "app/npy.h"
#include "app/output.h"
#include "app/settings.h"
#include "base/atomic_file.h"
#include "files/output_path.h"
#include "files/printable.h"
#include "generate/embedder.h"
#include "text/tokenizer/from_checkpoint.h"

namespace invar::app {
namespace {

constexpr size_t kMostCompared = 1000;

struct EmbedFlags {
    ModelSettings machine;
    std::string model, file, out, prompt_name;
    std::vector<std::string> texts;
    std::optional<std::string> prompt;
    EmbeddingWishes wishes;
    bool truncate = false, cosines = false, json = false;
};

// One text a line. A last line without an end counts; an empty line is an empty text.
std::vector<std::string> lines_of(std::string_view all) {
    std::vector<std::string> lines;
    while (!all.empty()) {
        const size_t end = std::min(all.find('\n'), all.size());
        std::string_view line = all.substr(0, end);
        if (line.ends_with('\r')) line.remove_suffix(1);
        lines.emplace_back(line);
        all.remove_prefix(std::min(end + 1, all.size()));
    }
    return lines;
}

Result<std::vector<std::string>> read_texts(const EmbedFlags& flags) {
    if (!flags.texts.empty() && !flags.file.empty())
        return fail("texts were given both as arguments and with --file; give one of the two");
    if (!flags.texts.empty()) return flags.texts;
    if (flags.file.empty() && stdin_is_terminal())
        return fail("no text was given; give texts as arguments, with --file, or one a line on standard input");
    std::string all;
    if (flags.file.empty() || flags.file == "-") {
        TRY_ASSIGN(all, read_standard_input());
    } else {
        TRY_ASSIGN(all, read_text_file(flags.file));
    }
    std::vector<std::string> lines = lines_of(all);
    if (lines.empty()) return fail("there is no text to make a vector of; give one text a line");
    return lines;
}

std::string names_of(const std::vector<EmbeddingPrompt>& prompts) {
    std::vector<std::string> names;
    for (const EmbeddingPrompt& prompt : prompts) names.push_back(printable(prompt.name));
    return names.empty() ? "it has none" : fmt::format("it has {}", fmt::join(names, ", "));
}

// The text that stands in front of each text.
Result<std::string> chosen_prompt(const EmbedFlags& flags, const EmbeddingConfig& config) {
    std::string prompt = flags.prompt.value_or("");
    const std::string name = flags.prompt_name.empty() && !flags.prompt ? config.default_prompt : flags.prompt_name;
    if (!name.empty()) {
        const auto found = std::find_if(config.prompts.begin(), config.prompts.end(),
                                        [&](const EmbeddingPrompt& one) { return one.name == name; });
        if (found == config.prompts.end()) {
            return fail("{}: has no prompt '{}' ({}); give the text itself with --prompt", flags.model, printable(name),
                        names_of(config.prompts));
        }
        prompt = found->text;
    }
    if (!prompt.empty() && !config.pools_prompt) {
        return fail(ErrorKind::unsupported,
                    "{}: the key 'include_prompt' is false, so the rows of a prompt are not pooled, which is not "
                    "computed; give --prompt \"\" to go without one",
                    config.source);
    }
    return prompt;
}

Result<std::vector<TextTokens>> tokens_of(const std::vector<std::string>& texts, const std::string& prompt,
                                          const Tokenizer& tokenizer, int64_t most, bool truncate) {
    std::vector<TextTokens> all;
    for (const std::string& text : texts) {
        auto tokens = tokens_to_embed(tokenizer, prompt + text, most, truncate);
        if (!tokens) return fail(tokens.error().kind, "text {}: {}", all.size() + 1, tokens.error().message);
        all.push_back(std::move(*tokens));
    }
    return all;
}

std::string vector_text(std::span<const float> vector, std::string_view between) {
    return fmt::format("{}", fmt::join(vector, between));  // the shortest text of each number that reads back as it
}

float cosine(std::span<const float> a, std::span<const float> b) {
    double product = 0, of_a = 0, of_b = 0;
    for (size_t i = 0; i < a.size(); ++i) {
        product += double{a[i]} * b[i];
        of_a += double{a[i]} * a[i];
        of_b += double{b[i]} * b[i];
    }
    return of_a == 0 || of_b == 0 ? 0.0f : static_cast<float>(product / (std::sqrt(of_a) * std::sqrt(of_b)));
}

void print_cosines(const std::vector<std::vector<float>>& vectors, bool json) {
    std::vector<std::string> lines;
    for (const std::vector<float>& a : vectors) {
        std::vector<std::string> row;
        for (const std::vector<float>& b : vectors)
            row.push_back(json ? fmt::format("{}", cosine(a, b)) : fmt::format("{:7.4f}", cosine(a, b)));
        lines.push_back(fmt::format("{}", fmt::join(row, json ? "," : " ")));
    }
    if (!json) return print_result(fmt::format("{}\n", fmt::join(lines, "\n")));
    print_result(fmt::format("{{\"cosines\":[[{}]]}}\n", fmt::join(lines, "],[")));
}

// Where the vectors go: a file, the table of cosines, or the screen.
class VectorOutput {
  public:
    static Result<VectorOutput> open(const EmbedFlags& flags, std::span<const TextTokens> texts, int64_t size) {
        VectorOutput output(flags, texts);
        if (flags.out.empty()) return output;
        TRY_ASSIGN(output.file_, AtomicFile::create(flags.out));
        const std::string header = npy_header(std::ssize(texts), size);
        TRY(output.file_->write(std::as_bytes(std::span(header))));
        return output;
    }

    Result<void> add(size_t text, std::span<const float> vector) {
        if (file_) return file_->write(std::as_bytes(vector));
        if (flags_->cosines) {
            kept_.emplace_back(vector.begin(), vector.end());
        } else if (flags_->json) {
            print_result(fmt::format("{{\"index\":{},\"tokens\":{},\"left_out\":{},\"embedding\":[{}]}}\n", text,
                                     texts_[text].tokens.size(), texts_[text].left_out, vector_text(vector, ",")));
        } else {
            print_result(vector_text(vector, " ") + "\n");
        }
        return {};
    }

    Result<void> end() {
        if (file_) return file_->commit();
        if (flags_->cosines) print_cosines(kept_, flags_->json);
        return {};
    }

  private:
    VectorOutput(const EmbedFlags& flags, std::span<const TextTokens> texts) : flags_(&flags), texts_(texts) {}

    const EmbedFlags* flags_;
    std::span<const TextTokens> texts_;
    std::optional<AtomicFile> file_;
    std::vector<std::vector<float>> kept_;
};

void say_what_was_made(std::span<const TextTokens> texts, const EmbeddingPlan& plan) {
    int64_t tokens = 0, shortened = 0;
    for (const TextTokens& text : texts) {
        tokens += std::ssize(text.tokens);
        shortened += text.left_out > 0 ? 1 : 0;
    }
    if (shortened > 0) {
        print_note(fmt::format("{}: only the first {} tokens were taken",
                               counted(shortened, "text was too long", "texts were too long"), plan.most_tokens));
    }
    print_note(fmt::format("{} of {}: {} ({}); {} each", counted(std::ssize(texts), "text", "texts"),
                           counted(tokens, "token", "tokens"), plan.config.description(), plan.config.source,
                           counted(plan.size, "number", "numbers")));
}

Result<void> check_flags_of_embed(const Arguments& given) {
    TRY(check_apart(given, "--normalize", "--no-normalize", "each says how long vectors are"));
    TRY(check_apart(given, "--prompt", "--prompt-name", "each says what stands in front of a text"));
    for (const char* const printed : {"--json", "--cosines"})
        TRY(check_apart(given, "--out", printed, "the first writes vectors to a file and the second prints"));
    return {};
}

Result<int> embed(const EmbedFlags& flags, const Arguments& given) {
    TRY(check_flags_of_embed(given));
    TRY_ASSIGN(const Checkpoint file, Checkpoint::open(flags.model));
    if (!flags.out.empty()) TRY(check_output(file, flags.out));
    TRY_ASSIGN(const Architecture* architecture, find_architecture(file));
    TRY_ASSIGN(const ModelConfig config, architecture->read_config(file));
    TRY_ASSIGN(EmbeddingPlan plan, plan_embeddings(file, config, flags.wishes));
    TRY_ASSIGN(EngineSettings settings, engine_settings(flags.machine, flags.model));
    if (settings.context > 0) plan.most_tokens = std::min(plan.most_tokens, settings.context);
    TRY_ASSIGN(const Tokenizer tokenizer, read_tokenizer(file));
    TRY_ASSIGN(const std::string prompt, chosen_prompt(flags, plan.config));
    TRY_ASSIGN(const std::vector<std::string> texts, read_texts(flags));
    if (flags.cosines && texts.size() > kMostCompared)
        return fail("{} texts are too many to compare each with each; at most {} are", texts.size(), kMostCompared);
    TRY_ASSIGN(const std::vector<TextTokens> tokens,
               tokens_of(texts, prompt, tokenizer, plan.most_tokens, flags.truncate));
    fit_engine_to_texts(tokens, config, settings);
    ProgressBar bar("loading");
    TRY_ASSIGN(const std::unique_ptr<Engine> engine,
               Engine::open(settings, [&](int64_t done, int64_t total) { bar.show(done, total); }));
    bar.clear();
    say_placement(engine->plan());
    TRY_ASSIGN(VectorOutput output, VectorOutput::open(flags, tokens, plan.size));
    Embedder embedder(*engine, plan);
    TRY(embedder.run(tokens, [&](size_t text, std::span<const float> vector) { return output.add(text, vector); }));
    TRY(output.end());
    say_what_was_made(tokens, plan);
    return kDone;
}

std::vector<Named<std::optional<Pooling>>> pooling_choices() {
    std::vector<Named<std::optional<Pooling>>> choices = {{"auto", std::nullopt}};
    for (const Pooling mode :
         {Pooling::mean, Pooling::cls, Pooling::last, Pooling::max, Pooling::mean_sqrt_length, Pooling::weighted_mean})
        choices.push_back({pooling_name(mode), mode});
    return choices;
}

std::vector<Setting> own_settings(EmbedFlags& flags) {
    return {
        {"model", model_name(flags.model), "GGUF file or model directory", kRequired},
        {"text", texts(flags.texts), "The texts; default: one a line on standard input"},
        {"--file,-f", text(flags.file), "A file with one text a line; -: standard input"},
        {"--json", flag(flags.json), "Print one JSON object a text"},
        {"--out,-o", text(flags.out), "Write the vectors to this NumPy file (binary32 [texts, numbers])"},
        {"--cosines", flag(flags.cosines), "Print the cosine of each text with each instead of vectors"},
        {"--prompt-name", text(flags.prompt_name), "Which of the model's prompts stands in front of each text"},
        {"--prompt", text(flags.prompt), "A text that stands in front of each text; \"\": none"},
        {"--truncate", flag(flags.truncate), "Leave out the end of a text that is too long, instead of refusing it"},
        {"--pooling", choice(flags.wishes.pooling, pooling_choices()),
         "How rows become one vector; auto: as the model says"},
        {"--normalize", flag(flags.wishes.unit_length, std::optional(true)), "Give each vector length 1"},
        {"--no-normalize", flag(flags.wishes.unit_length, std::optional(false)),
         "Leave the vectors as long as they are"},
        {"--dimensions", number(flags.wishes.dimensions, 0),
         "Keep so many numbers of each vector, for models trained for it, and give it length 1 again; 0: all"},
    };
}

}  // namespace

Command embed_command() {
    auto flags = std::make_shared<EmbedFlags>();
    flags->machine.engine.cache_type = CacheType::f32;  // it holds a few texts at a time
    return {
        .name = "embed",
        .summary = "Turn texts into vectors, for search and comparison",
        .settings = {{"", own_settings(*flags)}, model_settings(flags->machine)},
        .footer =
            "Examples:\n  invar embed all-MiniLM-L6-v2 \"A cat sat.\" \"A dog ran.\" --cosines\n"
            "  invar embed all-MiniLM-L6-v2 --file lines.txt --out vectors.npy\n"
            "  invar embed embeddinggemma-300m \"Which planet is red?\" --prompt-name query --dimensions 256 --json\n"
            "docs/embeddings.md explains prompts, pooling and limits.",
        .run = [flags](const Arguments& given) { return embed(*flags, given); }};
}

}  // namespace invar::app
