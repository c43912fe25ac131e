// Answers written as text, in which the marks of a format stand for their tokens, and what they split into.
#pragma once

#include <algorithm>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "text/chat/channels.h"

namespace invar::answer_test {

struct Split {
    std::string content, reasoning;
    std::vector<std::pair<std::string, std::string>> calls = {};
    bool operator==(const Split&) const = default;
};

inline std::ostream& operator<<(std::ostream& out, const Split& split) {
    out << "content '" << split.content << "', reasoning '" << split.reasoning << "'";
    for (const auto& [name, arguments] : split.calls) out << ", call " << name << " '" << arguments << "'";
    return out;
}

inline std::vector<AnswerMark> marks_of(const AnswerFormat& format) {
    std::vector<AnswerMark> marks;
    for (const AnswerMark& mark : {format.open, format.close, format.answer_open, format.answer_close, format.start,
                                   format.channel, format.message, format.end, format.constrain}) {
        if (!mark.text.empty()) marks.push_back(mark);
    }
    return marks;
}

class Parse {
  public:
    Parse(const AnswerFormat& format, std::string_view prompt) : format_(format), parser_(format_, prompt) {}
    Parse(const Parse&) = delete;

    void text(std::string_view text, size_t bytes = 1) {
        for (; !text.empty(); text.remove_prefix(std::min(bytes, text.size())))
            parser_.feed(text.substr(0, bytes), sink());
    }
    void mark(std::string_view text) {
        for (const AnswerMark& mark : marks_of(format_)) {
            if (mark.text == text) parser_.feed_mark(mark.token, mark.text, sink());
        }
    }
    Split done() {
        parser_.finish(sink());
        return split_;
    }

  private:
    ChannelSink sink() {
        return [this](Channel channel, std::string_view text) {
            if (channel == Channel::call) {
                split_.calls.emplace_back(text, "");
            } else if (channel == Channel::arguments) {
                split_.calls.at(split_.calls.size() - 1).second += text;
            } else {
                (channel == Channel::content ? split_.content : split_.reasoning) += text;
            }
            return true;
        };
    }

    AnswerFormat format_;
    AnswerParser parser_;
    Split split_;
};

// Marks that are tokens are given as such, and what lies between them in pieces of so many bytes.
inline Split parse(const AnswerFormat& format, std::string_view prompt, std::string_view answer, size_t bytes = 1) {
    Parse parse(format, prompt);
    while (!answer.empty()) {
        size_t first = answer.size();
        AnswerMark found;
        for (const AnswerMark& mark : marks_of(format)) {
            const size_t at = mark.token < 0 ? std::string_view::npos : answer.find(mark.text);
            if (at < first) first = at, found = mark;
        }
        parse.text(answer.substr(0, first), std::max<size_t>(bytes, 1));
        if (!found.text.empty()) parse.mark(found.text);
        answer.remove_prefix(first + found.text.size());
    }
    return parse.done();
}

inline AnswerFormat think_as_text() {
    AnswerFormat format;
    format.kind = AnswerFormat::Kind::tagged;
    format.open = {"<think>", -1};
    format.close = {"</think>", -1};
    return format;
}

inline AnswerFormat think_as_tokens() {
    AnswerFormat format = think_as_text();
    format.open.token = 1;
    format.close.token = 2;
    return format;
}

inline AnswerFormat gemma_format() {
    AnswerFormat format;
    format.kind = AnswerFormat::Kind::tagged;
    format.open = {"<|channel>", 100};
    format.close = {"<channel|>", 101};
    format.name = "thought";
    return format;
}

inline AnswerFormat harmony_format() {
    AnswerFormat format;
    format.kind = AnswerFormat::Kind::messages;
    format.start = {"<|start|>", 6};
    format.channel = {"<|channel|>", 5};
    format.message = {"<|message|>", 8};
    format.end = {"<|end|>", 7};
    format.constrain = {"<|constrain|>", 3};
    format.reasoning_name = "analysis";
    format.reasoning_key = "thinking";
    return format;
}
inline constexpr const char* kHarmonyPrompt = "<|start|>user<|message|>2 + 2?<|end|><|start|>assistant";

inline std::vector<AnswerFormat> every_format() {
    AnswerFormat wrapped = think_as_text();
    wrapped.answer_open = {"<response>", -1};
    wrapped.answer_close = {"</response>", -1};
    AnswerFormat wrapped_tokens = think_as_tokens();
    wrapped_tokens.answer_open = {"<response>", 3};
    wrapped_tokens.answer_close = {"</response>", 4};
    return {AnswerFormat(),   think_as_text(), think_as_tokens(), gemma_format(),
            harmony_format(), wrapped,         wrapped_tokens};
}

// A prompt that leaves the format's reasoning or message open.
inline std::string prompt_of(const AnswerFormat& format) {
    return format.kind == AnswerFormat::Kind::messages ? kHarmonyPrompt : "x" + format.open.text + format.name;
}

}  // namespace invar::answer_test
