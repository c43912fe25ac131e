// Splits a model's answer into its channels as it streams: reasoning, content and tool calls. Which marks do that is an
// AnswerFormat, which answer_format.h takes from the chat template; this file only follows it. A mark that the
// vocabulary has as one special token is that token, and the same characters in other tokens stay text; a mark that it
// does not have is found in the text.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace invar {

// A call comes as two: `call`, with the whole name of the function, and then `arguments`, in pieces.
enum class Channel : uint8_t { content, reasoning, call, arguments };

using ChannelSink = std::function<bool(Channel channel, std::string_view text)>;  // returning false stops

struct AnswerMark {
    std::string text;    // empty: there is no such mark
    int32_t token = -1;  // -1: it is no special token of the vocabulary
    bool operator==(const AnswerMark&) const = default;
};

struct AnswerFormat {
    // plain: all is content. tagged: reasoning stands between two marks, and content behind them. messages: an answer
    // is a series of messages, each with a header that names its channel (gpt-oss).
    enum class Kind : uint8_t { plain, tagged, messages };
    Kind kind = Kind::plain;

    // tagged: `open` reasoning `close` content, or `open` `name` line-break reasoning `close` content. A named channel
    // may begin anywhere, others only at the beginning of the answer, so that an answer may speak of the mark.
    AnswerMark open, close;
    std::string name;
    AnswerMark answer_open, answer_close;  // around the content, where a template asks for that

    // messages: `start` role `channel` name `message` text `end`. A recipient ("to=functions.NAME", behind the role or
    // the name) makes the message a call.
    AnswerMark start, channel, message, end, constrain;
    std::string reasoning_name;  // every other name is content

    // Where a message of the history takes its reasoning: a key of the message, or a part of its content whose type
    // this is.
    std::string reasoning_key = "reasoning_content";
    bool reasoning_is_part = false;

    // The tokens that a generation must deliver apart from its text.
    std::vector<int32_t> tokens() const;
};

// The channels do not depend on how the text is cut into pieces. White space around marks belongs to no channel. Where
// a channel goes on after another, an empty line is put between its parts. Nothing else is added or lost, but for
// marks, and names and roles in the headers of messages.
class AnswerParser {
  public:
    // `prompt`: the rendered prompt, whose end may have opened a channel or a message. `format` must outlive the
    // parser.
    AnswerParser(const AnswerFormat& format, std::string_view prompt);

    bool feed(std::string_view text, const ChannelSink& sink);
    bool feed_mark(int32_t token, std::string_view text, const ChannelSink& sink);
    // A rendered text, in which every mark is known by its characters.
    bool feed_rendered(std::string_view text, const ChannelSink& sink);
    // What is still held back: text that might have become a mark, and a header without a message.
    bool finish(const ChannelSink& sink);

  private:
    // start: nothing of the content was seen. name: behind the open mark of a named channel. role, header: before and
    // behind the channel's mark in the header of a message. between: behind the end of a message.
    enum class State : uint8_t { start, name, reasoning, content, role, header, arguments, between };

    void begin_behind(std::string_view prompt);
    bool take(const ChannelSink& sink);
    void take_at_start();
    void take_name();
    bool take_until(const AnswerMark& mark, const ChannelSink& sink);
    void take_header();
    bool has_place(const AnswerMark& mark) const;
    void pass(const AnswerMark& mark);
    bool mark_of_messages(const AnswerMark& mark, const ChannelSink& sink);
    bool begin_message(const ChannelSink& sink);
    bool leave_header(const ChannelSink& sink);
    bool flush(const ChannelSink& sink);
    bool deliver(std::string text, const ChannelSink& sink);
    void go_to(State state);
    Channel channel() const;

    const AnswerFormat* format_;
    State state_ = State::start;
    bool has_reasoned_ = false;   // reasoning was opened or closed
    bool is_wrapped_ = false;     // answer_open was seen
    bool prompt_opened_ = false;  // the header is the one that the prompt began
    bool at_start_ = true;        // nothing was delivered since the last mark, so leading white space is dropped
    bool has_text_[4] = {};       // per channel
    std::string held_;            // text that may be the start of a mark, or a name
    std::string space_;           // white space that is delivered only if text of the channel follows
    std::string role_, header_;   // of a message
};

}  // namespace invar
