// Reads the tokenizer and the chat template of a checkpoint: from GGUF's metadata (from_gguf.h), or from the files
// beside the weights (tokenizer_files.h).
#pragma once

#include "files/checkpoint.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/tokenizer_files.h"

namespace invar {

// Errors: there is none, or it is refused.
Result<Tokenizer> read_tokenizer(const Checkpoint& checkpoint);

// The chat template and where it was found; nothing if there is none.
Result<std::optional<ChatTemplateText>> read_chat_template(const Checkpoint& checkpoint);

}  // namespace invar
