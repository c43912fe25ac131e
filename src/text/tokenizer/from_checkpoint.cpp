#include "text/tokenizer/from_checkpoint.h"

#include "text/tokenizer/from_gguf.h"

namespace invar {

Result<Tokenizer> read_tokenizer(const Checkpoint& checkpoint) {
    if (checkpoint.directory() == nullptr) return tokenizer_from_gguf(checkpoint.metadata());
    TRY_ASSIGN(const TokenizerFiles files, TokenizerFiles::of(*checkpoint.directory()));
    return read_tokenizer(files);
}

Result<std::optional<ChatTemplateText>> read_chat_template(const Checkpoint& checkpoint) {
    if (checkpoint.directory() != nullptr) {
        TRY_ASSIGN(const TokenizerFiles files, TokenizerFiles::of(*checkpoint.directory()));
        return read_chat_template(files);
    }
    constexpr std::string_view kKey = "tokenizer.chat_template";
    if (!checkpoint.metadata().has(kKey)) return std::optional<ChatTemplateText>();
    TRY_ASSIGN(const std::string_view text, checkpoint.metadata().string(kKey));
    return std::optional<ChatTemplateText>(
        {.text = std::string(text), .taken_from = fmt::format("{} of {}", kKey, checkpoint.name())});
}

}  // namespace invar
