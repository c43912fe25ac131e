// The tokenizer of a model's directory: which of its files is taken, and what the others say about it. In this order:
// tokenizer.json, tekken.json, tiktoken.model, tokenizer.model (sentencepiece, or tiktoken's lines), vocab.json with
// merges.txt. GGUF: from_gguf.h.
#pragma once

#include <optional>
#include <string>

#include "files/model_directory.h"
#include "text/tokenizer/tokenizer.h"

namespace invar {

// The files that are there.
struct TokenizerFiles {
    struct File {
        std::string name;  // path, as messages call it
        std::string bytes;
    };
    std::string directory;  // for errors
    std::optional<File> tokenizer_json, tekken_json, tiktoken_model, tokenizer_model, vocab_json, merges_txt;
    std::optional<File> tokenizer_config, special_tokens_map, added_tokens, generation_config, config;
    std::optional<File> chat_template_jinja, chat_template_json;

    // Errors: a file that cannot be read, or is larger than 512 MiB.
    static Result<TokenizerFiles> in_directory(const std::string& directory);
    static Result<TokenizerFiles> of(const ModelDirectory& directory);
};

// Errors: no tokenizer among the files, or the first one is refused. tokenizer.taken_from() is the file taken;
// notes() holds what was read differently than written. Ends of generation are those of the tokenizer,
// generation_config.json and config.json together (end_tokens() names the file of each).
Result<Tokenizer> read_tokenizer(const TokenizerFiles& files);

struct ChatTemplateText {
    std::string text;
    std::string taken_from;  // path
};
// From chat_template.jinja, else tokenizer_config.json (the one named "default", where it has several), else
// chat_template.json.
Result<std::optional<ChatTemplateText>> read_chat_template(const TokenizerFiles& files);

// bos_token and the like as a chat template sees them: texts from tokenizer_config.json, else special_tokens_map.json.
struct SpecialTexts {
    std::optional<std::string> bos, eos, unknown, padding;
};
Result<SpecialTexts> read_special_texts(const TokenizerFiles& files);

}  // namespace invar
