// invar tokenize MODEL [TEXT]: prints the ids and pieces of a text, or the text of ids.
#include <fmt/format.h>

#include <optional>

#include "app/input_text.h"
#include "app/output.h"
#include "app/settings.h"
#include "base/json.h"
#include "files/printable.h"
#include "text/tokenizer/from_checkpoint.h"

namespace invar::app {
namespace {

struct TokenizeFlags {
    std::string model;
    std::optional<std::string> text;
    std::vector<int32_t> decode;
    bool json = false, ids_only = false, no_specials = false, no_ends = false;
};

Result<void> check_flags_of_tokenize(const Arguments& given) {
    TRY(check_apart(given, "--decode", "text", "the first makes text of ids and the second ids of a text"));
    for (const char* const of_text : {"--ids", "--json", "--no-specials", "--no-ends"})
        TRY(check_apart(given, "--decode", of_text, "the second is about the ids of a text"));
    return check_apart(given, "--ids", "--json", "each says how ids are printed");
}

Result<int> tokenize(const TokenizeFlags& flags, const Arguments& given) {
    TRY(check_flags_of_tokenize(given));
    TRY_ASSIGN(const Checkpoint file, Checkpoint::open(flags.model));
    TRY_ASSIGN(const Tokenizer tokenizer, read_tokenizer(file));
    if (!flags.decode.empty()) {
        for (const int32_t id : flags.decode) {
            if (!tokenizer.has(id))
                return fail("--decode: token {} is not in the vocabulary of {} tokens", id, tokenizer.size());
        }
        print_result(tokenizer.decode(flags.decode, true));
        print_result("\n");
        return kDone;
    }
    std::string text = flags.text.value_or("");
    if (!flags.text) {
        TRY_ASSIGN(text, read_standard_input());
    }
    const auto specials = flags.no_specials ? Tokenizer::Specials::as_text : Tokenizer::Specials::parse;
    TRY_ASSIGN(const std::vector<int32_t> ids,
               tokenizer.encode(text, specials, flags.no_ends ? Tokenizer::Ends::none : Tokenizer::Ends::add));
    if (flags.json) {
        Json pieces = Json::array();
        for (const int32_t id : ids) pieces.push_back(printable(tokenizer.piece(id)));
        print_json({{"tokens", ids}, {"pieces", std::move(pieces)}, {"count", ids.size()}});
        return kDone;
    }
    if (flags.ids_only) {
        print_result(fmt::format("{}\n", fmt::join(ids, " ")));
        return kDone;
    }
    for (const int32_t id : ids) print_result(fmt::format("{:>8}  '{}'\n", id, printable(tokenizer.piece(id))));
    print_note(fmt::format("{} of {}", counted(std::ssize(ids), "token", "tokens"),
                           counted(std::ssize(text), "byte", "bytes")));
    return kDone;
}

}  // namespace

Command tokenize_command() {
    auto flags = std::make_shared<TokenizeFlags>();
    return {.name = "tokenize",
            .summary = "Show the tokens of a text, or the text of tokens",
            .settings = {{"",
                          {
                              {"model", model_name(flags->model), "GGUF file or model directory", kRequired},
                              {"text", text(flags->text), "The text; default: standard input"},
                              {"--decode", numbers(flags->decode, 0), "Token ids to turn into text"},
                              {"--ids", flag(flags->ids_only), "Print the ids on one line"},
                              {"--json", flag(flags->json), "Print JSON"},
                              {"--no-specials", flag(flags->no_specials), "Take the texts of special tokens literally"},
                              {"--no-ends", flag(flags->no_ends), "Add no BOS or EOS"},
                          }}},
            .footer =
                "Examples:\n  invar tokenize model.gguf \"Hello world\"\n"
                "  invar tokenize model.gguf --decode 9906,1917",
            .run = [flags](const Arguments& given) { return tokenize(*flags, given); }};
}

}  // namespace invar::app
