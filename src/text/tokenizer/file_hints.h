// What the other files of a directory say about a tokenizer (tokenizer_config.json, special_tokens_map.json,
// generation_config.json, config.json, added_tokens.json). tokenizer_files.h collects it, and the readers of tokenizers
// apply it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "text/tokenizer/added_tokens.h"

namespace invar {

struct FileHints {
    std::optional<std::string> bos, eos, unknown, padding;  // texts of tokens
    std::optional<bool> add_bos, add_eos, add_prefix_space;
    std::vector<EndToken> ends;  // ids from generation_config.json and config.json, with the file name as the reason
    std::vector<int32_t> suppressed;  // ids of generation_config.json that are never to be chosen
    std::vector<AddedToken> added;    // for readers whose own file has none; `token` is -1 if the files give no id
    std::string model_type;           // from config.json
    std::string pattern;              // for tiktoken files, which do not contain it; empty: unknown
};

}  // namespace invar
