// Finds out how a model's answer is divided (AnswerFormat in channels.h), from its chat template and its vocabulary:
// the template is rendered with a conversation whose reasoning, answer and call are known words, and what it writes
// around them are the marks. No family is known by name. A template that shows no reasoning in any of these
// conversations, but speaks of its marks (to cut them out of a history), is read as text instead.
#pragma once

#include "base/json.h"
#include "jinja/chat_template.h"
#include "text/chat/channels.h"
#include "text/tokenizer/tokenizer.h"

namespace invar {

// `specials`: the variables bos_token, eos_token and so on. A template that fails in every conversation, and one
// without reasoning, give a plain format. The renderings have small limits of their own.
AnswerFormat answer_format_of(const ChatTemplate& chat_template, const Tokenizer& tokenizer, const Json& specials);

// What the channels of an answer added up to.
struct Answer {
    struct Call {
        std::string name, arguments;  // as the model wrote them
    };
    std::string content, reasoning;
    std::vector<Call> calls;
};
// Adds a piece that a parser delivered.
void add_to(Answer& answer, Channel channel, std::string_view text);

// The answer as a message of the history, with its reasoning where the template looks for it.
Json assistant_message(const AnswerFormat& format, const Answer& answer);

// One line for reports: "reasoning between <think> and </think>".
std::string describe(const AnswerFormat& format);

}  // namespace invar
