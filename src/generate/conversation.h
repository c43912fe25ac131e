// A chat with one model. It keeps the messages, turns them into prompts, generates, and splits the answer into
// channels. A command or a server drives it. sampler.h chooses the tokens.
#pragma once

#include <string>
#include <vector>

#include "generate/generation.h"
#include "text/chat/chat_format.h"

namespace invar {

struct GeneratedAnswer : Answer {
    Generation generation;
};

class Conversation {
  public:
    Conversation(Session& session, const Tokenizer& tokenizer, const ChatFormat& format, ChatOptions options)
        : session_(&session), tokenizer_(&tokenizer), format_(&format), options_(std::move(options)) {}

    void add_message(Json message) { messages_.push_back(std::move(message)); }
    void remove_last_message() { messages_.erase(messages_.size() - 1); }
    const Json& messages() const { return messages_; }

    // Answers the last message and appends the answer as the assistant's message, with its reasoning and calls where
    // the template looks for them.
    Result<GeneratedAnswer> answer(const GenerationSettings& settings, const ChannelSink& sink,
                                   const Progress& progress);

  private:
    Session* session_;
    const Tokenizer* tokenizer_;
    const ChatFormat* format_;
    ChatOptions options_;
    Json messages_ = Json::array();
};

}  // namespace invar
