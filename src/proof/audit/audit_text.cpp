#include "proof/audit/audit_text.h"

#include <algorithm>
#include <array>
#include <set>
#include <unordered_map>

#include "base/json.h"
#include "files/printable.h"
#include "models/architecture.h"
#include "text/chat/chat_format.h"
#include "text/tokenizer/from_checkpoint.h"
#include "text/tokenizer/from_gguf.h"
#include "text/tokenizer/utf8.h"

namespace invar {
namespace {

constexpr std::string_view kTokenizer = "tokenizer", kTemplate = "chat template";

std::string in_quotes(std::string_view text) { return fmt::format("'{}'", printable(text, 48)); }

class Findings {
  public:
    Findings(std::vector<AuditFinding>& findings, std::string_view subject) : findings_(findings), subject_(subject) {}
    void add(std::string_view check, std::string what, int64_t count = 1) {
        const AuditCheck& row = audit_check(check);
        findings_.push_back({.check = &row, .subject = std::string(subject_), .what = std::move(what), .count = count});
        errors_ += row.severity == Severity::error ? 1 : 0;
        checks_.emplace(check);
    }
    int errors() const { return errors_; }
    bool has(std::string_view check) const { return checks_.contains(check); }

  private:
    std::vector<AuditFinding>& findings_;
    std::string_view subject_;
    int errors_ = 0;
    std::set<std::string, std::less<>> checks_;
};

// Some bytes occur in no UTF-8 text, so a vocabulary may lack them.
bool occurs_in_utf8(int byte) { return byte != 0xC0 && byte != 0xC1 && byte < 0xF5; }

void look_at_tokens(const VocabularySource& source, const Checkpoint& file, Findings& findings) {
    std::unordered_map<std::string_view, size_t> first;
    int64_t copies = 0;
    std::string example;
    for (size_t token = 0; token < source.tokens.size(); ++token) {
        if (source.tokens[token].empty()) continue;
        const auto [place, fresh] = first.try_emplace(source.tokens[token], token);
        if (fresh) continue;
        if (copies++ == 0)
            example =
                fmt::format("tokens {} and {} are both {}", place->second, token, in_quotes(source.tokens[token]));
    }
    if (copies > 0) findings.add("duplicate-tokens", fmt::format("{} repeated; {}", copies, example), copies);

    const TensorInfo* embedding = file.find("token_embd.weight");
    if (embedding == nullptr || source.tokens.empty()) return;
    const auto rows = embedding->shape[0], tokens = static_cast<int64_t>(source.tokens.size());
    if (tokens > rows) {
        findings.add("tokens-without-rows", fmt::format("{} tokens, but token_embd.weight has {} rows", tokens, rows),
                     tokens - rows);
    } else if (tokens < rows) {
        findings.add("rows-without-tokens", fmt::format("token_embd.weight has {} rows for {} tokens", rows, tokens),
                     rows - tokens);
    }
}

void look_at_specials(const VocabularySource& source, Findings& findings) {
    struct Special {
        const char* name;
        int32_t token;
        bool must_be_control;
    };
    const Special specials[] = {{"bos", source.bos, true},          {"eos", source.eos, true},
                                {"eot", source.eot, true},          {"eom", source.eom, true},
                                {"unknown", source.unknown, false}, {"padding", source.padding, false}};
    const auto size = static_cast<int32_t>(source.tokens.size());
    for (const auto& [name, token, must_be_control] : specials) {
        if (token < 0) continue;
        if (token >= size) {
            findings.add("special-token-range",
                         fmt::format("tokenizer.ggml.{}_token_id is {}, but there are {} tokens", name, token, size));
            continue;
        }
        const auto at = static_cast<size_t>(token);
        if (!must_be_control || at >= source.kinds.size()) continue;
        if (source.kinds[at] != static_cast<int32_t>(TokenKind::control)) {
            findings.add("special-token-kind",
                         fmt::format("tokenizer.ggml.{}_token_id is {}, {}, of type {} instead of 3 (control)", name,
                                     token, in_quotes(source.tokens[at]), source.kinds[at]));
        }
    }
    if (source.add_bos == true && source.bos < 0)
        findings.add("bos-missing", "tokenizer.ggml.add_bos_token is true, tokenizer.ggml.bos_token_id is missing");
}

void look_at_merges(const VocabularySource& source, Findings& findings) {
    if (source.model != "gpt2" && source.model != "gemma4") return;
    const std::set<std::string_view> tokens(source.tokens.begin(), source.tokens.end());
    int64_t unknown = 0;
    std::string example;
    for (size_t i = 0; i < source.merges.size(); ++i) {
        const std::string_view merge = source.merges[i];
        const size_t space = merge.find(' ', 1);
        std::string missing;
        if (space == std::string_view::npos) {
            missing = "has no space";
        } else {
            const std::string left(merge.substr(0, space)), right(merge.substr(space + 1));
            for (const std::string& part : {left, right, left + right}) {
                if (missing.empty() && !tokens.contains(part)) missing = fmt::format("names {}", in_quotes(part));
            }
        }
        if (!missing.empty() && unknown++ == 0) example = fmt::format("merge {}, {}, {}", i, in_quotes(merge), missing);
    }
    if (unknown > 0) {
        findings.add("merges-of-unknown",
                     fmt::format("{} of {} merges; the first is {}", unknown, source.merges.size(), example), unknown);
    }
}

void look_at_bytes(const VocabularySource& source, Findings& findings) {
    // What these have no token for becomes the unknown one.
    if (source.model == "bert" || (source.model == "t5" && source.unknown >= 0)) return;
    std::array<bool, 256> present{};
    for (size_t token = 0; token < source.tokens.size(); ++token) {
        const std::string_view text = source.tokens[token];
        if (text.empty()) continue;
        if (source.model == "gpt2") {
            const Utf8Step step = read_utf8(text);
            if (step.bytes != text.size()) continue;
            if (const auto byte = byte_level_byte(step.character)) present[*byte] = true;
        } else if (token < source.kinds.size() && source.kinds[token] == static_cast<int32_t>(TokenKind::byte)) {
            if (const auto byte = byte_token_byte(text)) present[*byte] = true;
        }
    }
    std::string missing;
    int64_t count = 0;
    for (int byte = 0; byte < 256; ++byte) {
        if (present[static_cast<size_t>(byte)] || !occurs_in_utf8(byte)) continue;
        if (count++ < 8) missing += fmt::format("{}0x{:02X}", count == 1 ? "" : ", ", byte);
    }
    if (count > 0) {
        findings.add(
            "bytes-missing",
            fmt::format("no token for {} of the 243 bytes of UTF-8: {}{}", count, missing, count > 8 ? ", ..." : ""),
            count);
    }
}

// Whether the model changes texts on purpose (case, accents, width, white space), so that only tokens can come back.
bool changes_texts(std::string_view model) {
    return model == "bert" || model == "WordPiece" || model == "t5" || model == "Unigram";
}

// Whether the text of tokens becomes these tokens again, apart from the one that stands for anything unknown, which
// many files mark as control.
bool tokens_come_back(const Tokenizer& tokenizer, std::vector<int32_t> tokens) {
    std::erase_if(tokens, [&](int32_t token) {
        const TokenKind kind = tokenizer.kind(token);
        return kind == TokenKind::unknown || kind == TokenKind::control;
    });
    const auto again =
        tokenizer.encode(tokenizer.decode(tokens, false), Tokenizer::Specials::as_text, Tokenizer::Ends::none);
    return again && *again == tokens;
}

void look_at_round_trip(const Tokenizer& tokenizer, Findings& findings) {
    constexpr std::string_view kText =
        "Hello, World! 12345\n\n  two\tspaces; \xC3\xBC\xC3\xB1\xC3\xAE \xE4\xBD\xA0\xE5\xA5\xBD "
        "\xD0\xBF\xD1\x80\xD0\xB8 \xF0\x9F\x98\x80 it's done.";
    const auto tokens = tokenizer.encode(kText, Tokenizer::Specials::as_text, Tokenizer::Ends::none);
    if (!tokens) {
        findings.add("round-trip", tokens.error().message);
        return;
    }
    const std::string back = tokenizer.decode(*tokens, false);
    if (back == kText || (changes_texts(tokenizer.model()) && tokens_come_back(tokenizer, *tokens))) return;
    const auto at =
        static_cast<size_t>(std::mismatch(kText.begin(), kText.end(), back.begin(), back.end()).first - kText.begin());
    findings.add("round-trip", fmt::format("after {} bytes the text goes on with {}, its {} tokens with {}", at,
                                           in_quotes(kText.substr(at)), tokens->size(),
                                           in_quotes(std::string_view(back).substr(std::min(at, back.size())))));
}

// Finds marks like "<|im_start|>" and "<end_of_turn>", also with the full-width bar, as models spell special tokens.
std::set<std::string> marks_in(std::string_view text) {
    constexpr std::string_view kWideBar = "\xEF\xBD\x9C";
    constexpr size_t kLongest = 64;
    std::set<std::string> marks;
    for (size_t begin = text.find('<'); begin != std::string_view::npos; begin = text.find('<', begin + 1)) {
        const size_t end = text.find('>', begin);
        if (end == std::string_view::npos) break;
        const std::string_view mark = text.substr(begin, end + 1 - begin), inside = mark.substr(1, mark.size() - 2);
        if (mark.size() > kLongest) continue;
        const bool plain = std::all_of(inside.begin(), inside.end(), [](char c) {
            return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '|' ||
                   (c & 0x80) != 0;
        });
        const bool barred = inside.size() > 2 && inside.starts_with('|') && inside.ends_with('|');
        const bool wide = inside.size() > 6 && inside.starts_with(kWideBar) && inside.ends_with(kWideBar);
        const bool turn = inside.starts_with("start_of_") || inside.starts_with("end_of_");
        if (plain && (barred || wide || turn)) marks.emplace(mark);
    }
    return marks;
}

// Says why a mark is not cut out of a prompt as one token; "" if it is.
std::string why_no_token(const Tokenizer& tokenizer, const std::string& mark) {
    const auto token = tokenizer.find(mark);
    if (!token) {
        const auto pieces = tokenizer.encode(mark, Tokenizer::Specials::parse, Tokenizer::Ends::none);
        const std::string length = pieces ? fmt::format(", it becomes {} tokens", pieces->size()) : std::string();
        return fmt::format("{} is no token of the vocabulary{}", in_quotes(mark), length);
    }
    const TokenKind kind = tokenizer.kind(*token);
    if (kind == TokenKind::control || kind == TokenKind::user_defined || kind == TokenKind::unknown) return "";
    return fmt::format("{} is token {}, but of type {} instead of 3 (control), so that it is not cut out of a text",
                       in_quotes(mark), *token, static_cast<int>(kind));
}

constexpr std::string_view kQuestion = "What is seven times six?", kAnswer = "It is forty-two.",
                           kSecond = "And plus one?";

Result<ChatPrompt> render(const ChatFormat& format, bool with_system, bool open) {
    Json messages = Json::array();
    if (with_system) messages.push_back({{"role", "system"}, {"content", "Be brief."}});
    messages.push_back({{"role", "user"}, {"content", kQuestion}});
    messages.push_back({{"role", "assistant"}, {"content", kAnswer}});
    if (open) messages.push_back({{"role", "user"}, {"content", kSecond}});
    ChatOptions options;
    options.add_generation_prompt = open;
    return format.prompt(messages, options);
}

void look_at_marks(const ChatFormat& format, const Tokenizer& tokenizer, const std::string& prompt,
                   Findings& findings) {
    const std::set<std::string> written = marks_in(prompt);
    for (const std::string& mark : written) {
        const std::string why = why_no_token(tokenizer, mark);
        if (!why.empty()) findings.add("marker-unknown", why);
    }
    for (const std::string& mark : marks_in(format.chat_template().source())) {
        if (written.contains(mark)) continue;
        const std::string why = why_no_token(tokenizer, mark);
        if (!why.empty()) findings.add("marker-unknown-elsewhere", why);
    }
}

void look_at_turn_end(const ChatFormat& format, const Tokenizer& tokenizer, AuditReport& report, Findings& findings) {
    const auto closed = render(format, false, false);
    const size_t answer = closed ? closed->text.rfind(kAnswer) : std::string::npos;
    if (answer == std::string::npos) {
        report.not_checked.push_back(
            "what ends an answer: the template does not render a conversation that ends in one");
        return;
    }
    const std::string_view tail = std::string_view(closed->text).substr(answer + kAnswer.size());
    const auto tokens = tokenizer.encode(tail, Tokenizer::Specials::parse, Tokenizer::Ends::none);
    if (!tokens || tokens->empty()) {
        report.not_checked.push_back("what ends an answer: the template writes nothing after one");
        return;
    }
    const bool ends = std::any_of(tokens->begin(), tokens->end(),
                                  [&](int32_t token) { return tokenizer.is_end_of_generation(token); });
    if (ends) return;
    std::string known;
    for (const EndToken& end : tokenizer.end_tokens())
        known += fmt::format("{}{}", known.empty() ? "" : ", ", in_quotes(tokenizer.text(end.token)));
    findings.add("turn-end", fmt::format("the template closes an answer with {}, but generation ends at {}",
                                         in_quotes(tail), known.empty() ? "no token" : known));
}

void look_at_template(const Checkpoint& file, const Tokenizer& tokenizer, AuditReport& report) {
    Findings findings(report.findings, kTemplate);
    const auto stored = read_chat_template(file);
    if (stored && !*stored) {
        findings.add("template-missing", file.directory() == nullptr
                                             ? "the key tokenizer.chat_template is missing"
                                             : "there is no chat_template.jinja, and none in tokenizer_config.json");
        return;
    }
    const auto format = ChatFormat::create(file, tokenizer, "");
    if (!format) {
        findings.add("template-syntax", format.error().message);
        return;
    }
    const auto prompt = render(*format, false, true);
    if (!prompt) {
        findings.add("template-fails", prompt.error().message);
        return;
    }
    for (const std::string_view content : {kQuestion, kSecond}) {
        if (prompt->text.find(content) != std::string::npos) continue;
        findings.add("template-fails",
                     fmt::format("the prompt does not contain the user's message {}", in_quotes(content)));
        return;
    }
    if (const auto system = render(*format, true, true); !system)
        findings.add("template-no-system", system.error().message);
    look_at_marks(*format, tokenizer, prompt->text, findings);
    look_at_turn_end(*format, tokenizer, report, findings);
    const std::optional<int32_t> bos = tokenizer.bos();
    if (tokenizer.adds_bos() && bos && !prompt->tokens.empty() && prompt->tokens[0] == *bos)
        findings.add("double-bos", fmt::format("both give {}", in_quotes(tokenizer.text(*bos))));
}

}  // namespace

namespace {

// Encoders generate nothing, so they need no end and no template.
bool generates(const Checkpoint& file) {
    const auto architecture = find_architecture(file);
    if (!architecture) return true;
    const auto config = (*architecture)->read_config(file);
    return !config || config->result == ModelResult::logits;
}

// Checks a tokenizer that could be read.
void look_at_tokenizer(const Checkpoint& file, const Tokenizer& tokenizer, Findings& findings, AuditReport& report) {
    const bool answers = generates(file);
    if (answers && tokenizer.end_tokens().empty())
        findings.add("no-end-token",
                     "no end of sequence, of turn or of message is named, and no token is known as one");
    if (!findings.has("bytes-missing")) look_at_round_trip(tokenizer, findings);
    if (answers) look_at_template(file, tokenizer, report);
}

}  // namespace

void audit_text_support(const Checkpoint& file, AuditReport& report) {
    Findings findings(report.findings, kTokenizer);
    if (file.directory() != nullptr) {
        const auto tokenizer = read_tokenizer(file);
        if (tokenizer) return look_at_tokenizer(file, *tokenizer, findings, report);
        findings.add("tokenizer-refused", tokenizer.error().message);
        report.not_checked.push_back("the chat template: the tokenizer is refused");
        return;
    }
    if (!file.metadata().has("tokenizer.ggml.model")) {
        findings.add("tokenizer-missing", "the key tokenizer.ggml.model is missing");
        report.not_checked.push_back("the chat template: there is no tokenizer");
        return;
    }
    auto source = vocabulary_from_gguf(file.metadata());
    if (!source) {
        findings.add("tokenizer-refused", source.error().message);
        report.not_checked.push_back("the chat template: the tokenizer is refused");
        return;
    }
    look_at_tokens(*source, file, findings);
    look_at_specials(*source, findings);
    look_at_merges(*source, findings);
    look_at_bytes(*source, findings);
    const auto tokenizer = Tokenizer::create(std::move(*source));
    if (!tokenizer) {
        if (findings.errors() == 0) findings.add("tokenizer-refused", tokenizer.error().message);
        report.not_checked.push_back("the chat template: the tokenizer is refused");
        return;
    }
    look_at_tokenizer(file, *tokenizer, findings, report);
}

}  // namespace invar
