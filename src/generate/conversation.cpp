#include "generate/conversation.h"

#include "base/json.h"

namespace invar {

Result<GeneratedAnswer> Conversation::answer(const GenerationSettings& given, const ChannelSink& sink,
                                             const Progress& progress) {
    TRY_ASSIGN(const ChatPrompt prompt, format_->prompt(messages_, options_));
    GeneratedAnswer answer;
    AnswerParser parser(format_->answers(), prompt.text);
    const ChannelSink collect = [&](Channel channel, std::string_view text) {
        add_to(answer, channel, text);
        return !sink || sink(channel, text);
    };
    const TextSink text_sink = [&](std::string_view text, int32_t mark) {
        return mark < 0 ? parser.feed(text, collect) : parser.feed_mark(mark, text, collect);
    };
    GenerationSettings settings = given;
    settings.marks = format_->answers().tokens();
    TRY_ASSIGN(answer.generation, generate(*session_, *tokenizer_, prompt.tokens, settings, text_sink, progress));
    parser.finish(collect);
    messages_.push_back(assistant_message(format_->answers(), answer));
    return answer;
}

}  // namespace invar
