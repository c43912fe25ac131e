// A tokenizer in its parts, as the readers of files make them (from_gguf.h, from_tokenizer_json.h, ...). A text passes
// through them from top to bottom: added tokens are cut out, the rest is normalised, cut again, split into words, and
// turned into tokens by the model. BOS and EOS are added last.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "text/tokenizer/added_tokens.h"
#include "text/tokenizer/decoder.h"
#include "text/tokenizer/normalizer.h"
#include "text/tokenizer/token_model.h"
#include "text/tokenizer/vocabulary.h"
#include "text/tokenizer/word_splitter.h"

namespace invar {

struct TokenizerParts {
    std::unique_ptr<Vocabulary> vocabulary;  // the model points to it
    AddedTokens added;                       // searched in the given text
    Normalizer normalizer;
    AddedTokens added_normalized;  // searched in the normalised text
    WordSplitter splitter;
    std::unique_ptr<TokenModel> model;
    std::vector<int32_t> before, behind;  // what Ends::add adds: in most files BOS and EOS
    Decoder decoder;
    bool adds_space_prefix = false;
    std::string pre_tokenizer;  // its name in GGUF
    std::string taken_from;     // the file, for reports
    std::vector<std::string> notes;
};

}  // namespace invar
