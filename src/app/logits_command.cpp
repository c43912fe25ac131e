// invar logits MODEL: the logits of every position of a text, for comparison with another engine or a reference. They
// are written exactly as computed to a NumPy file, or the highest few are printed.
#include <algorithm>
#include <numeric>

#include "app/npy.h"
#include "app/output.h"
#include "app/settings.h"
#include "base/atomic_file.h"
#include "base/json.h"
#include "files/output_path.h"
#include "files/printable.h"
#include "generate/session.h"
#include "text/tokenizer/from_checkpoint.h"

namespace invar::app {
namespace {

struct LogitsFlags {
    ModelSettings machine;
    std::string model, text, out;
    std::vector<int32_t> tokens;
    int top = 5;
    bool json = false;
};

struct Candidate {
    int32_t token;
    float logit;
};

std::vector<Candidate> best_of(std::span<const float> logits, int count) {
    std::vector<int32_t> order(logits.size());
    std::iota(order.begin(), order.end(), 0);
    const auto kept = static_cast<std::ptrdiff_t>(std::min(order.size(), static_cast<size_t>(std::max(count, 0))));
    std::partial_sort(order.begin(), order.begin() + kept, order.end(), [&](int32_t a, int32_t b) {
        const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
        return x != y ? x > y : a < b;
    });
    std::vector<Candidate> best;
    for (std::ptrdiff_t i = 0; i < kept; ++i) {
        const int32_t token = order[static_cast<size_t>(i)];
        best.push_back({token, logits[static_cast<size_t>(token)]});
    }
    return best;
}

// The text of a token, if the model has a tokenizer.
std::string piece_of(int32_t token, const Tokenizer* tokenizer) {
    return tokenizer == nullptr ? std::string() : printable(tokenizer->piece(token));
}

void print_position(int64_t position, std::span<const Candidate> best, const Tokenizer* tokenizer, bool json) {
    if (json) {
        Json candidates = Json::array();
        for (const Candidate& one : best) {
            candidates.push_back(
                {{"token", one.token}, {"piece", piece_of(one.token, tokenizer)}, {"logit", one.logit}});
        }
        print_json({{"position", position}, {"best", std::move(candidates)}});
        return;
    }
    std::string line = fmt::format("{:>6} ", position);
    for (const Candidate& one : best)
        line += fmt::format("  {} '{}' {:.9g}", one.token, piece_of(one.token, tokenizer), one.logit);
    print_result(line + "\n");
}

Result<int> logits(const LogitsFlags& flags, const Arguments& given) {
    TRY(check_apart(given, "--tokens", "text", "each says what to compute"));
    TRY(check_apart(given, "--out", "--json", "the file has all logits and nothing is printed"));
    TRY_ASSIGN(EngineSettings settings, engine_settings(flags.machine, flags.model));
    TRY_ASSIGN(const Checkpoint file, Checkpoint::open(flags.model));
    if (!flags.out.empty()) TRY(check_output(file, flags.out));
    Result<Tokenizer> tokenizer = read_tokenizer(file);
    std::vector<int32_t> tokens = flags.tokens;
    if (tokens.empty()) {
        if (!tokenizer) return pass_on(std::move(tokenizer));
        TRY_ASSIGN(tokens, tokenizer->encode(flags.text, Tokenizer::Specials::parse, Tokenizer::Ends::add));
    }
    if (tokens.empty()) return fail("the text has no tokens; give a text or --tokens");
    settings.logits_rows = settings.chunk;
    TRY_ASSIGN(const std::unique_ptr<Engine> engine, Engine::open(settings, nullptr));
    TRY(check_makes_logits(*engine));
    say_placement(engine->plan());
    Session session(*engine);
    std::optional<AtomicFile> out;
    if (!flags.out.empty()) {
        TRY_ASSIGN(out, AtomicFile::create(flags.out));
        const std::string header = npy_header(static_cast<int64_t>(tokens.size()), engine->config().vocabulary);
        TRY(out->write(std::as_bytes(std::span(header))));
    }
    Result<void> written;
    TRY(logits_of_all(session, tokens, [&](int64_t position, std::span<const float> row) {
        if (!out) {
            print_position(position, best_of(row, flags.top), tokenizer ? &*tokenizer : nullptr, flags.json);
        } else if (written) {
            written = out->write(std::as_bytes(row));
        }
    }));
    TRY(std::move(written));
    if (out) {
        TRY(out->commit());
        print_note(fmt::format("{}: logits [{}, {}], binary32", flags.out, tokens.size(), engine->config().vocabulary));
    }
    return kDone;
}

}  // namespace

Command logits_command() {
    auto flags = std::make_shared<LogitsFlags>();
    return {
        .name = "logits",
        .summary = "Compute the logits of every position of a text",
        .settings =
            {{"",
              {
                  {"model", model_name(flags->model), "GGUF file or model directory", kRequired},
                  {"text", text(flags->text), "The text (special tokens are parsed, BOS added as the model asks)"},
                  {"--tokens", numbers(flags->tokens, 0), "Token ids instead of a text"},
                  {"--out", text(flags->out), "Write all logits to this NumPy file (binary32 [tokens, vocabulary])"},
                  {"--top", number(flags->top, 0), "How many logits to print per position, the highest first"},
                  {"--json", flag(flags->json), "Print JSON, one line per position"},
              }},
             model_settings(flags->machine)},
        .footer =
            "Examples:\n  invar logits model.gguf \"Hello\"\n"
            "  invar logits model.gguf --tokens 1,15043 --out logits.npy",
        .run = [flags](const Arguments& given) { return logits(*flags, given); }};
}

}  // namespace invar::app
