#include "generate/conversation.h"

#include "base/json.h"

namespace invar {

Result<Answer> Conversation::answer(const GenerationSettings& settings, const ChannelSink& sink,
                                    const Progress& progress) {
    TRY_ASSIGN(const ChatPrompt prompt, format_->prompt(messages_, options_));
    Answer answer;
    ChannelSplitter splitter(prompt.starts_in);
    const ChannelSink collect = [&](Channel channel, std::string_view text) {
        (channel == Channel::content ? answer.content : answer.reasoning) += text;
        return !sink || sink(channel, text);
    };
    const TextSink text_sink = [&](std::string_view text) { return splitter.feed(text, collect); };
    TRY_ASSIGN(answer.generation, generate(*session_, *tokenizer_, prompt.tokens, settings, text_sink, progress));
    splitter.finish(collect);
    Json message = {{"role", "assistant"}, {"content", answer.content}};
    if (!answer.reasoning.empty()) message["reasoning_content"] = answer.reasoning;
    messages_.push_back(std::move(message));
    return answer;
}

}  // namespace invar
