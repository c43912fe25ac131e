// Reads the tokenizer of a model's directory. It decides which of the files is used and collects what the others say
// about it. The first of these is used: tokenizer.json, tekken.json, tiktoken.model, tokenizer.model (sentencepiece, or
// tiktoken's lines), vocab.json with merges.txt. GGUF: from_gguf.h.
#pragma once

#include <optional>
#include <string>

#include "files/model_directory.h"
#include "text/tokenizer/tokenizer.h"

namespace invar {

// The files that exist.
struct TokenizerFiles {
    struct File {
        std::string name;  // the path, as messages show it
        std::string bytes;
    };
    std::string directory;  // for errors
    std::optional<File> tokenizer_json, tekken_json, tiktoken_model, tokenizer_model, vocab_json, merges_txt, vocab_txt;
    std::optional<File> tokenizer_config, special_tokens_map, added_tokens, generation_config, config;
    std::optional<File> chat_template_jinja, chat_template_json;

    // Errors: a file cannot be read or is larger than 512 MiB.
    static Result<TokenizerFiles> in_directory(const std::string& directory);
    static Result<TokenizerFiles> of(const ModelDirectory& directory);
};

// Errors: there is no tokenizer among the files, or the first one is refused. tokenizer.taken_from() is the file that
// was used, and notes() says what was left out or not taken as the file says. The ends of generation are those of the
// tokenizer, generation_config.json and config.json together (end_tokens() names the file of each).
Result<Tokenizer> read_tokenizer(const TokenizerFiles& files);

struct ChatTemplateText {
    std::string text;
    std::string taken_from;  // the path
};
// From chat_template.jinja, or else tokenizer_config.json (if it has several, the one named "default"), or else
// chat_template.json.
Result<std::optional<ChatTemplateText>> read_chat_template(const TokenizerFiles& files);

// bos_token and the like as a chat template sees them, from tokenizer_config.json or else special_tokens_map.json.
struct SpecialTexts {
    std::optional<std::string> bos, eos, unknown, padding;
};
Result<SpecialTexts> read_special_texts(const TokenizerFiles& files);

}  // namespace invar
