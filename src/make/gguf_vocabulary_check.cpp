#include "make/gguf_vocabulary_check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>

#include "base/json.h"
#include "files/gguf.h"
#include "files/printable.h"
#include "make/gguf_tokens.h"
#include "text/tokenizer/from_gguf.h"

namespace invar {
namespace {

constexpr size_t kShownBytes = 60;
constexpr size_t kShownTokens = 16;

constexpr std::string_view kTexts[] = {
    // Words, case and white space.
    "", "a", "Hello", "HELLO WORLD", "Hello world", " Hello world", "Hello world ", "  Hello", "Hello  ", "a  b",
    "a   b    c", " ", "  ", "   ", "\t", "\ttab\tand space", "\n", "\n\n", "\n\n\n", "line\nline", "line\r\nline",
    "a\n\n\nb", "a \n b", "  \n  ", "ends with a newline\n", "MixedCaseWords camelCase snake_case UPPER_CASE",
    // Numbers and marks.
    "0", "12", "123", "1234", "1234567890", "3.14159", "1,000,000", "2026-11-29", "100%", "$5.00", "a1b22c333",
    "don't I'll we've THEY'RE it'S", "Hello, world!", "(a) [b] {c} <d>", "...", "?!?!", "--- *** ###", "a/b\\c",
    "\"quoted\" 'text'", "#tag @name", "https://example.org/path?q=1&r=2",
    // Code.
    "def f(x):\n    return x + 1\n", "for (int i = 0; i < 10; ++i) {\n\treturn;\n}\n", "if (a && b || !c) { d += e; }",
    "{\"key\": [1, 2.5, null]}", "<p class=\"a\">text</p>",
    // Other scripts, composed.
    "caf\u00e9 na\u00efve \u00dcber", "\u00c9COLE \u00c5ngstr\u00f6m",
    "\u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440", "\u0393\u03b5\u03b9\u03ac \u03c3\u03bf\u03c5",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002", "\u3053\u3093\u306b\u3061\u306f \u4e16\u754c", "\uc548\ub155 \uc138\uacc4",
    "\u0645\u0631\u062d\u0628\u0627", "\u0928\u092e\u0938\u094d\u0924\u0947", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    "\U0001F600 \U0001F44D\U0001F3FD", "\U0001F468\u200d\U0001F469\u200d\U0001F467", "a\u00a0b\u3000c",
    "\u00bd \u2460 \u216b", "\ufb01ne \uff21\uff22\uff23"};
constexpr std::string_view kDecomposedTexts[] = {"cafe\u0301 nai\u0308ve", "A\u030angstro\u0308m",
                                                 "\u1112\u1161\u11ab"};

std::string shown(std::span<const int32_t> tokens) {
    const bool all = tokens.size() <= kShownTokens;
    return fmt::format("[{}{}]", fmt::join(tokens.first(all ? tokens.size() : kShownTokens), ", "), all ? "" : ", ...");
}

Result<void> check_text(const Tokenizer& of_directory, const Tokenizer& of_file, std::string_view text,
                        const std::string& file) {
    for (const auto ends : {Tokenizer::Ends::none, Tokenizer::Ends::add}) {
        const auto wanted = of_directory.encode(text, Specials::as_text, ends);
        const auto got = of_file.encode(text, Specials::as_text, ends);
        // A text that one of them refuses is refused with a sentence when it is used.
        if (!wanted || !got || *wanted == *got) continue;
        return fail(
            "{}: the text '{}' has the tokens {} by this file, but {} by what a GGUF file can say of it: use the "
            "directory itself",
            file, printable(text, kShownBytes), shown(*wanted), shown(*got));
    }
    return {};
}

// Byte-level BPE only: sentencepiece's user-defined pieces are written with spaces for U+2581.
Result<void> check_pieces(const Tokenizer& of_directory, const Tokenizer& of_file, const std::string& file) {
    for (int32_t token = 0; token < of_directory.size(); ++token) {
        if (of_directory.kind(token) == TokenKind::unused) continue;
        const std::string wanted = of_directory.piece(token), got = of_file.piece(token);
        if (wanted == got) continue;
        return fail("{}: token {} is '{}', but '{}' by what a GGUF file can say of it: use the directory itself", file,
                    token, printable(wanted, kShownBytes), printable(got, kShownBytes));
    }
    return {};
}

bool has_flag(const Json& token) {
    constexpr std::array<std::string_view, 3> kFlags = {"single_word", "lstrip", "rstrip"};
    for (const std::string_view name : kFlags) {
        const Json* flag = member(token, name);
        if (flag != nullptr && flag->is_boolean() && flag->get<bool>()) return true;
    }
    return false;
}

bool differs(const Tokenizer& of_directory, const Tokenizer& of_file, const std::string& token) {
    for (const std::string& text : {"a " + token + " b", "a" + token + "b"}) {
        const auto wanted = of_directory.encode(text, Specials::parse, Tokenizer::Ends::none);
        const auto got = of_file.encode(text, Specials::parse, Tokenizer::Ends::none);
        if (wanted && got && *wanted != *got) return true;
    }
    return false;
}

}  // namespace

Result<Tokenizer> read_back(const GgufWriter& writer, const std::string& file) {
    const std::vector<std::byte> header = writer.header();
    TRY_ASSIGN(const GgufFile written, GgufFile::from_bytes(header, file));
    return tokenizer_from_gguf(written.metadata());
}

void add_end_tokens(const Tokenizer& of_directory, const Tokenizer& of_file, GgufWriter& writer,
                    std::vector<std::string>& notes) {
    const std::span<const EndToken> ends = of_directory.end_tokens();
    std::optional<int32_t> eos;
    if (!of_file.eos() && !ends.empty()) eos = of_directory.eos().value_or(ends.front().token);
    if (eos) writer.add("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(*eos));
    constexpr std::array<std::string_view, 2> kKeys = {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
    size_t used = 0;
    for (const EndToken& end : ends) {
        if (end.token == eos || of_file.is_end_of_generation(end.token)) continue;
        if (used < kKeys.size()) {
            writer.add(kKeys[used++], static_cast<uint32_t>(end.token));
            continue;
        }
        notes.push_back(fmt::format("token {} '{}' ends an answer ({}), which a GGUF file has no key left to say",
                                    end.token, printable(of_directory.text(end.token), kShownBytes), end.reason));
    }
}

Result<void> check_tokens(const Tokenizer& of_directory, const Tokenizer& of_file, bool composes,
                          const std::string& file) {
    if (of_file.model() == "gpt2") TRY(check_pieces(of_directory, of_file, file));
    for (const std::string_view text : kTexts) TRY(check_text(of_directory, of_file, text, file));
    if (composes) return {};
    for (const std::string_view text : kDecomposedTexts) TRY(check_text(of_directory, of_file, text, file));
    return {};
}

void note_added_tokens(const Json& tokens, const Tokenizer& of_directory, const Tokenizer& of_file,
                       std::vector<std::string>& notes) {
    std::string first;
    size_t count = 0;
    for (const Json& token : tokens) {
        const auto text = text_of(member(token, "content"));
        if (!text || !has_flag(token) || !differs(of_directory, of_file, *text)) continue;
        if (count++ == 0) first = *text;
    }
    if (count == 0) return;
    notes.push_back(fmt::format(
        "the added token '{}'{} strips white space or stands for whole words only, which a GGUF file cannot say",
        printable(first, kShownBytes), count > 1 ? fmt::format(" (as {} more)", count - 1) : ""));
}

}  // namespace invar
