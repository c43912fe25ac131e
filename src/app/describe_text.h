// Which tokenizer, chat template and end tokens a checkpoint gives, and the file that each was taken from, for
// `inspect` and `run --verbose`. Nothing is fatal here: a tokenizer or template that is refused is described by its
// error.
#pragma once

#include <string>

#include "base/json.h"
#include "files/checkpoint.h"
#include "text/chat/chat_format.h"
#include "text/tokenizer/tokenizer.h"

namespace invar::app {

// {"model", "taken_from", "pre_tokenizer", "tokens", "adds_bos", "adds_eos", "end_tokens", "notes"}
Json describe_tokenizer(const Tokenizer& tokenizer);
// {"taken_from", "bytes", "variables"}
Json describe_template(const ChatTemplate& chat_template);
// {"tokenizer" or "tokenizer_error", "chat_template" or "chat_template_error"}
Json describe_text(const Checkpoint& file);

// The same for people, one line for each fact. `text` has the keys of describe_text(); those that are missing are left
// out.
std::string text_lines(const Json& text);

}  // namespace invar::app
