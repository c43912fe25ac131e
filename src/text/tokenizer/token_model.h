// The interface of all models, which turn one word into tokens (byte_pair.h, character_pair.h, unigram.h, word_piece.h,
// sentence_piece.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer/merge.h"
#include "text/tokenizer/pattern.h"

namespace invar {

// The working memory of encoding, one per call, kept between words.
struct ModelWork {
    MergeWork merges;
    std::string spelled;
};

class TokenModel {
  public:
    virtual ~TokenModel() = default;
    // Appends the tokens of text[word]. `text` must be valid UTF-8. Errors: the vocabulary has no token for a part of
    // it.
    virtual Result<void> encode(std::string_view text, Span word, ModelWork& work,
                                std::vector<int32_t>& tokens) const = 0;
};

}  // namespace invar
