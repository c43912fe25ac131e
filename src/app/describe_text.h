// Describes the tokenizer, the chat template and the end tokens of a checkpoint, and names the file of each, for
// `inspect` and `run --verbose`. A tokenizer or template that is refused is no error here: its error is the
// description.
#pragma once

#include <string>

#include "base/json.h"
#include "files/checkpoint.h"
#include "text/chat/chat_format.h"
#include "text/tokenizer/tokenizer.h"

namespace invar::app {

// Keys: {"model", "taken_from", "pre_tokenizer", "tokens", "adds_bos", "adds_eos", "end_tokens", "notes"}
Json describe_tokenizer(const Tokenizer& tokenizer);
// Keys: {"taken_from", "bytes", "variables", "answers"}
Json describe_template(const ChatFormat& format);
// Keys: {"tokenizer" or "tokenizer_error", "chat_template" or "chat_template_error"}
Json describe_text(const Checkpoint& file);

// Prints a description as text, with one line per fact. `text` has keys of describe_text(); missing keys are left out.
std::string text_lines(const Json& text);

}  // namespace invar::app
