// Turns messages into the tokens that a model was trained on, with the checkpoint's own chat template, its variables
// and special tokens, and knows how the answers are divided into channels. A checkpoint without a template is an error;
// the template of a family is never guessed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "files/checkpoint.h"
#include "jinja/chat_template.h"
#include "text/chat/answer_format.h"
#include "text/tokenizer/tokenizer.h"

namespace invar {

struct ChatOptions {
    Json tools;                       // null: none
    Json variables = Json::object();  // more template variables, e.g. {"enable_thinking": false}
    bool add_generation_prompt = true;
    int64_t now_seconds = 0;  // the time that the template sees
};

struct ChatPrompt {
    std::string text;
    std::vector<int32_t> tokens;
};

class ChatFormat {
  public:
    // Reads tokenizer.chat_template, or compiles `override_source` when it is not empty.
    static Result<ChatFormat> create(const Checkpoint& file, const Tokenizer& tokenizer, std::string override_source);

    // messages: an array of {"role", "content", ...} as in OpenAI's chat API.
    Result<ChatPrompt> prompt(const Json& messages, const ChatOptions& options) const;
    const ChatTemplate& chat_template() const { return template_; }
    const AnswerFormat& answers() const { return answers_; }

  private:
    ChatFormat(ChatTemplate compiled, const Tokenizer& tokenizer, Json specials)
        : template_(std::move(compiled)),
          tokenizer_(&tokenizer),
          specials_(std::move(specials)),
          answers_(answer_format_of(template_, tokenizer, specials_)) {}

    ChatTemplate template_;
    const Tokenizer* tokenizer_;
    Json specials_;  // bos_token, eos_token and the like, as the template sees them
    AnswerFormat answers_;
};

}  // namespace invar
