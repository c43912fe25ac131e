// The tokenizer and the chat template of a checkpoint, wherever its container keeps it: in GGUF's metadata
// (from_gguf.h), or in files beside the weights (tokenizer_files.h).
#pragma once

#include "files/checkpoint.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/tokenizer_files.h"

namespace invar {

// Errors: there is none, or it is refused.
Result<Tokenizer> read_tokenizer(const Checkpoint& checkpoint);

// The chat template and where it was taken from; nothing where there is none.
Result<std::optional<ChatTemplateText>> read_chat_template(const Checkpoint& checkpoint);

}  // namespace invar
