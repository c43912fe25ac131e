// Read answer_format.h first. A lexeme is what a mark can look like: a special token of the vocabulary, or a word in
// angle or square brackets.
#include "text/chat/answer_format.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <utility>

namespace invar {
namespace {

constexpr std::string_view kBlank = " \t\r\n";
constexpr std::string_view kQuestion = "Q1uestionZ7", kReasoning = "R1easonZ7", kAnswer = "A1nswerZ7",
                           kFunction = "f1unctionZ7";
constexpr std::string_view kReasoningKeys[] = {"reasoning_content", "reasoning", "thinking"};
constexpr size_t kMostMark = 64;      // bytes of a mark
constexpr size_t kMostDistance = 64;  // between marks of a header

class Finder {
  public:
    Finder(const ChatTemplate& chat_template, const Tokenizer& tokenizer, const Json& specials)
        : template_(&chat_template), tokenizer_(&tokenizer), specials_(&specials) {}

    AnswerFormat find();

  private:
    struct Lexeme {
        size_t begin, end;
    };
    std::string render(const Json& messages) const;
    bool is_special(std::string_view text) const;
    bool ends_generation(std::string_view text) const;
    AnswerMark mark_of(std::string_view text) const;
    std::optional<Lexeme> last_lexeme(std::string_view text) const;
    std::optional<Lexeme> first_lexeme(std::string_view text) const;
    std::optional<std::vector<std::string>> header_before(std::string_view text) const;

    std::optional<AnswerFormat> from_conversation(const Json& message, bool with_call) const;
    std::optional<AnswerFormat> as_messages(std::string_view before, std::string_view between) const;
    std::optional<AnswerFormat> as_tags(std::string_view before, std::string_view between) const;
    void find_answer_marks(std::string_view between, std::string_view behind, AnswerFormat& format) const;
    bool holds(const AnswerFormat& format, std::string_view before, std::string_view rest, bool with_call) const;
    std::optional<AnswerFormat> from_source() const;
    std::optional<AnswerFormat> from_vocabulary() const;

    const ChatTemplate* template_;
    const Tokenizer* tokenizer_;
    const Json* specials_;
    std::string plain_;  // a conversation without reasoning
};

std::string_view trimmed_end(std::string_view text) { return text.substr(0, text.find_last_not_of(kBlank) + 1); }

bool is_space(char c) { return kBlank.find(c) != std::string_view::npos; }

bool is_word(std::string_view text) {
    const auto is_letter = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
    return !text.empty() && text.size() <= kMostDistance && std::all_of(text.begin(), text.end(), is_letter);
}

// Nothing if the template refuses the conversation.
std::string Finder::render(const Json& messages) const {
    Json context = *specials_;
    context["messages"] = messages;
    context["tools"] = nullptr;
    context["documents"] = nullptr;
    context["add_generation_prompt"] = false;
    context["enable_thinking"] = context["thinking"] = true;
    TemplateLimits limits;
    limits.steps = 300'000;
    limits.output_bytes = 1 << 20;
    limits.memory_bytes = 16 << 20;
    return template_->render(context, limits, 0).value_or(std::string());
}

bool Finder::is_special(std::string_view text) const {
    const auto token = tokenizer_->find(text);
    if (!token) return false;
    const TokenKind kind = tokenizer_->kind(*token);
    return kind == TokenKind::control || kind == TokenKind::user_defined;
}

bool Finder::ends_generation(std::string_view text) const {
    const auto token = tokenizer_->find(text);
    return token && tokenizer_->is_end_of_generation(*token);
}

AnswerMark Finder::mark_of(std::string_view text) const {
    return {std::string(text), is_special(text) ? *tokenizer_->find(text) : -1};
}

// The lexeme at the end of `text`, of two the longer.
std::optional<Finder::Lexeme> Finder::last_lexeme(std::string_view text) const {
    const size_t end = trimmed_end(text).size();
    if (end == 0) return std::nullopt;
    const size_t least = end > kMostMark ? end - kMostMark : 0;
    for (size_t begin = least; begin < end; ++begin) {
        if (!is_space(text[begin]) && is_special(text.substr(begin, end - begin))) return Lexeme{begin, end};
    }
    const char open = text[end - 1] == '>' ? '<' : text[end - 1] == ']' ? '[' : '\0';
    for (size_t begin = end - 1; open != '\0' && begin-- > least && !is_space(text[begin]);) {
        if (text[begin] == open && end - begin > 2) return Lexeme{begin, end};
    }
    return std::nullopt;
}

std::optional<Finder::Lexeme> Finder::first_lexeme(std::string_view text) const {
    const size_t begin = std::min(text.find_first_not_of(kBlank), text.size());
    for (size_t length = std::min(kMostMark, text.size() - begin); length > 0; --length) {
        if (is_special(text.substr(begin, length))) return Lexeme{begin, begin + length};
    }
    if (begin == text.size()) return std::nullopt;
    const char close = text[begin] == '<' ? '>' : text[begin] == '[' ? ']' : '\0';
    const size_t most = std::min(text.size(), begin + kMostMark);
    for (size_t end = begin + 1; close != '\0' && end < most && !is_space(text[end]); ++end) {
        if (text[end] == close && end - begin > 1) return Lexeme{begin, end + 1};
    }
    return std::nullopt;
}

// start, role, channel, name and message, if they stand at the end of `text` and the marks are special tokens.
std::optional<std::vector<std::string>> Finder::header_before(std::string_view text) const {
    std::vector<std::string> parts;
    for (int mark = 0; mark < 3; ++mark) {
        const auto lexeme = last_lexeme(text);
        if (!lexeme || lexeme->end != text.size() || !is_special(text.substr(lexeme->begin))) return std::nullopt;
        parts.emplace_back(text.substr(lexeme->begin));
        text = text.substr(0, lexeme->begin);
        if (mark == 2) break;
        size_t begin = text.size();
        while (begin > 0 && is_word(text.substr(begin - 1, 1))) --begin;
        if (!is_word(text.substr(begin))) return std::nullopt;
        parts.emplace_back(text.substr(begin));
        text = text.substr(0, begin);
    }
    std::reverse(parts.begin(), parts.end());
    return parts;
}

// A message with reasoning and a message with the answer, with headers that differ in the name only.
std::optional<AnswerFormat> Finder::as_messages(std::string_view before, std::string_view between) const {
    const auto reasoning = header_before(before), answer = header_before(between);
    const auto end = first_lexeme(between);
    if (!reasoning || !answer || !end || !is_special(between.substr(end->begin, end->end - end->begin)))
        return std::nullopt;
    for (const size_t same : {0, 1, 2, 4}) {
        if ((*reasoning)[same] != (*answer)[same]) return std::nullopt;
    }
    if ((*reasoning)[3] == (*answer)[3]) return std::nullopt;
    AnswerFormat format;
    format.kind = AnswerFormat::Kind::messages;
    format.start = mark_of((*reasoning)[0]);
    format.channel = mark_of((*reasoning)[2]);
    format.reasoning_name = (*reasoning)[3];
    format.message = mark_of((*reasoning)[4]);
    format.end = mark_of(between.substr(end->begin, end->end - end->begin));
    // Models write it before the kind of a call's arguments, where their templates write a space.
    if (is_special("<|constrain|>")) format.constrain = mark_of("<|constrain|>");
    return format;
}

std::optional<AnswerFormat> Finder::as_tags(std::string_view before, std::string_view between) const {
    AnswerFormat format;
    format.kind = AnswerFormat::Kind::tagged;
    std::string_view end = trimmed_end(before);
    auto open = last_lexeme(end);
    if (!open) {  // perhaps behind a name and a line break
        size_t begin = end.size();
        while (begin > 0 && is_word(end.substr(begin - 1, 1))) --begin;
        const std::string_view name = end.substr(begin);
        if (!is_word(name) || before.substr(end.size()).find('\n') == std::string_view::npos) return std::nullopt;
        end = end.substr(0, begin);
        open = last_lexeme(end);
        if (!open || open->end != end.size() || !is_special(end.substr(open->begin))) return std::nullopt;
        format.name = name;
    }
    const auto close = first_lexeme(between);
    if (!close) return std::nullopt;
    format.open = mark_of(end.substr(open->begin, open->end - open->begin));
    format.close = mark_of(between.substr(close->begin, close->end - close->begin));
    if (format.open.text == format.close.text) return std::nullopt;
    // The mark of a turn and its end are no marks of a channel.
    if (ends_generation(format.open.text) || ends_generation(format.close.text)) return std::nullopt;
    if (!format.name.empty() && format.close.token < 0) return std::nullopt;
    return format;
}

// The marks around the answer itself, where a template writes them between the reasoning and the answer.
void Finder::find_answer_marks(std::string_view between, std::string_view behind, AnswerFormat& format) const {
    const auto close = first_lexeme(between);
    const std::string_view rest = between.substr(close->end);
    const auto open = first_lexeme(rest);
    if (!open || trimmed_end(rest).size() != open->end) return;
    const auto end = first_lexeme(behind);
    const AnswerMark last = end ? mark_of(behind.substr(end->begin, end->end - end->begin)) : AnswerMark();
    if (last.text.empty() || ends_generation(last.text)) return;
    format.answer_open = mark_of(rest.substr(open->begin, open->end - open->begin));
    format.answer_close = last;
}

// Whether a parser of the format gets back what the template was given. `rest` begins with the reasoning and ends with
// the answer or before the name of the function.
bool Finder::holds(const AnswerFormat& format, std::string_view before, std::string_view rest, bool with_call) const {
    const bool is_tagged = format.kind == AnswerFormat::Kind::tagged;
    const size_t begin = before.rfind(is_tagged ? format.open.text : format.start.text);
    if (begin == std::string_view::npos) return false;
    Answer answer;
    const ChannelSink collect = [&](Channel channel, std::string_view text) {
        add_to(answer, channel, text);
        return true;
    };
    AnswerParser parser(format, "");
    parser.feed_rendered(std::string(before.substr(begin)).append(rest), collect);
    parser.finish(collect);
    return answer.reasoning == kReasoning && (with_call || answer.content == kAnswer);
}

// `message`: the assistant's, with reasoning.
std::optional<AnswerFormat> Finder::from_conversation(const Json& message, bool with_call) const {
    Json messages = Json::array({{{"role", "user"}, {"content", kQuestion}}, message});
    if (with_call) {
        messages.push_back({{"role", "tool"}, {"name", kFunction}, {"tool_call_id", "abcdefghi"}, {"content", "1"}});
    }
    const std::string text = render(messages);
    const size_t reasoning = text.rfind(kReasoning);
    if (reasoning == std::string::npos) return std::nullopt;
    const size_t last = reasoning + kReasoning.size();
    const size_t answer = text.find(with_call ? kFunction : kAnswer, last);
    if (answer == std::string::npos) return std::nullopt;
    const std::string_view before = std::string_view(text).substr(0, reasoning);
    const std::string_view between = std::string_view(text).substr(last, answer - last);
    const std::string_view rest = std::string_view(text).substr(reasoning, answer - reasoning + kAnswer.size());
    auto format = with_call ? std::nullopt : as_messages(before, between);
    if (format) return holds(*format, before, rest, false) ? format : std::nullopt;
    format = as_tags(before, between);
    if (!format) return format;
    // What stands before an answer without reasoning, too, is the speaker's mark.
    const std::string_view speaker = trimmed_end(std::string_view(plain_).substr(0, plain_.rfind(kAnswer)));
    if (plain_.find(kAnswer) != std::string::npos && speaker.ends_with(format->open.text + format->name))
        return std::nullopt;
    // A series of messages whose headers are not understood.
    if (between.find("assistant") != std::string_view::npos) return std::nullopt;
    if (!with_call) find_answer_marks(between, std::string_view(text).substr(answer + kAnswer.size()), *format);
    const std::string_view said = with_call ? rest.substr(0, answer - reasoning) : rest;
    return holds(*format, before, said, with_call) ? format : std::nullopt;
}

// The mark that opens what `close` ends, if this is an end of reasoning by its name.
std::optional<std::string> opening_of(std::string_view close) {
    std::string open(close), lower(close);
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
    const bool is_reasoning = lower.find("think") != std::string::npos || lower.find("thought") != std::string::npos ||
                              lower.find("reason") != std::string::npos;
    if (!is_reasoning) return std::nullopt;
    if (const size_t slash = open.find('/'); slash != std::string::npos) return open.erase(slash, 1);
    if (const size_t end = open.find("END"); end != std::string::npos) return open.replace(end, 3, "START");
    return std::nullopt;
}

// From the marks that the template's own text names.
std::optional<AnswerFormat> Finder::from_source() const {
    const std::string_view source = template_->source();
    for (size_t at = source.find_first_of("<["); at != std::string_view::npos;
         at = source.find_first_of("<[", at + 1)) {
        const auto lexeme = first_lexeme(source.substr(at));
        if (!lexeme) continue;
        const std::string_view close = source.substr(at, lexeme->end);
        const auto open = opening_of(close);
        if (!open) continue;
        AnswerFormat format;
        format.kind = AnswerFormat::Kind::tagged;
        format.open = mark_of(*open);
        format.close = mark_of(close);
        // "... between <think></think> and the answer between <response></response>"
        const std::string empty = *open + std::string(close);
        const size_t pair = source.find(empty);
        const size_t next = pair == std::string_view::npos ? pair : source.find("></", pair + empty.size());
        if (next != std::string_view::npos && next - pair < 4 * kMostMark) {
            const auto first = last_lexeme(source.substr(0, next + 1)), last = first_lexeme(source.substr(next + 1));
            if (first && last && last->end == first->end - first->begin + 1) {
                format.answer_open = mark_of(source.substr(first->begin, first->end - first->begin));
                format.answer_close = mark_of(source.substr(next + 1, last->end));
            }
        }
        return format;
    }
    return std::nullopt;
}

// Some templates are silent about marks that the vocabulary has.
std::optional<AnswerFormat> Finder::from_vocabulary() const {
    if (!is_special("<think>") || !is_special("</think>")) return std::nullopt;
    AnswerFormat format;
    format.kind = AnswerFormat::Kind::tagged;
    format.open = mark_of("<think>");
    format.close = mark_of("</think>");
    return format;
}

AnswerFormat Finder::find() {
    const Json call = {
        {"id", "abcdefghi"}, {"type", "function"}, {"function", {{"name", kFunction}, {"arguments", {{"a", "b"}}}}}};
    const Json answer = {{"role", "assistant"}, {"content", kAnswer}};
    const Json calling = {{"role", "assistant"}, {"content", ""}, {"tool_calls", Json::array({call})}};
    const Json parts =
        Json::array({{{"type", "thinking"}, {"thinking", kReasoning}}, {{"type", "text"}, {"text", kAnswer}}});
    plain_ = render(Json::array({{{"role", "user"}, {"content", kQuestion}}, answer}));
    for (const bool with_call : {false, true}) {
        const Json& without = with_call ? calling : answer;
        for (const std::string_view key : kReasoningKeys) {
            Json message = without;
            message[std::string(key)] = kReasoning;
            auto format = from_conversation(message, with_call);
            if (!format) continue;
            format->reasoning_key = key;
            return *std::move(format);
        }
        if (with_call) continue;
        if (auto format = from_conversation({{"role", "assistant"}, {"content", parts}}, false)) {
            format->reasoning_key = "thinking";
            format->reasoning_is_part = true;
            return *std::move(format);
        }
    }
    if (auto format = from_source()) return *std::move(format);
    return from_vocabulary().value_or(AnswerFormat());
}

}  // namespace

AnswerFormat answer_format_of(const ChatTemplate& chat_template, const Tokenizer& tokenizer, const Json& specials) {
    return Finder(chat_template, tokenizer, specials).find();
}

Json assistant_message(const AnswerFormat& format, const Answer& answer) {
    Json message = {{"role", "assistant"}, {"content", answer.content}};
    for (size_t i = 0; i < answer.calls.size(); ++i) {
        const auto arguments = parse_json(answer.calls[i].arguments);  // templates want an object
        Json function = {{"name", answer.calls[i].name}};
        function["arguments"] = arguments ? *arguments : Json(answer.calls[i].arguments);
        message["tool_calls"].push_back(
            {{"id", fmt::format("call{:05}", i)}, {"type", "function"}, {"function", std::move(function)}});
    }
    if (answer.reasoning.empty()) return message;
    if (format.reasoning_is_part) {
        message["content"] = Json::array({{{"type", "thinking"}, {"thinking", answer.reasoning}}});
        if (!answer.content.empty()) message["content"].push_back({{"type", "text"}, {"text", answer.content}});
        return message;
    }
    message[format.reasoning_key] = answer.reasoning;
    // In a message with a call, such a template has one place for both and refuses two texts.
    if (format.kind == AnswerFormat::Kind::messages && !answer.calls.empty()) message["content"] = "";
    return message;
}

void add_to(Answer& answer, Channel channel, std::string_view text) {
    switch (channel) {
        case Channel::content:
            answer.content += text;
            break;
        case Channel::reasoning:
            answer.reasoning += text;
            break;
        case Channel::call:
            answer.calls.push_back({std::string(text), {}});
            break;
        case Channel::arguments:
            if (!answer.calls.empty()) answer.calls.back().arguments += text;
            break;
    }
}

std::string describe(const AnswerFormat& format) {
    switch (format.kind) {
        case AnswerFormat::Kind::plain:
            return "answers have no marks of reasoning";
        case AnswerFormat::Kind::tagged:
            return fmt::format(
                "reasoning between {}{} and {}{}", format.open.text, format.name, format.close.text,
                format.answer_open.text.empty()
                    ? ""
                    : fmt::format(", the answer between {} and {}", format.answer_open.text, format.answer_close.text));
        case AnswerFormat::Kind::messages:
            return fmt::format("messages {}..{}..{}..{}, reasoning in {}", format.start.text, format.channel.text,
                               format.message.text, format.end.text, format.reasoning_name);
    }
    return {};
}

}  // namespace invar
