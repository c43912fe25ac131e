// WordPiece and WordLevel. WordPiece takes the longest token with which a word begins, then the longest for the rest,
// spelled with a prefix such as "##". A word that cannot be spelled so becomes one unknown token. In WordLevel a word
// is a token or unknown. Source: the models of the `tokenizers` library; the tests compare with its ids.
#pragma once

#include <optional>

#include "text/tokenizer/token_model.h"
#include "text/tokenizer/vocabulary.h"

namespace invar {

class WordPieceEncoder : public TokenModel {
  public:
    struct Rules {
        int32_t unknown = -1;
        std::string subword_prefix;
        size_t most_characters = 100;  // a longer word is unknown
    };
    WordPieceEncoder(const Vocabulary& vocabulary, int32_t model_tokens, Rules rules)
        : vocabulary_(&vocabulary), model_tokens_(model_tokens), rules_(std::move(rules)) {}
    Result<void> encode(std::string_view text, Span word, ModelWork& work, std::vector<int32_t>& tokens) const override;

  private:
    std::optional<int32_t> longest_at(std::string_view word, size_t begin, size_t& end, std::string& spelled) const;

    const Vocabulary* vocabulary_;
    int32_t model_tokens_;
    Rules rules_;
};

class WordLevelEncoder : public TokenModel {
  public:
    WordLevelEncoder(const Vocabulary& vocabulary, int32_t model_tokens, int32_t unknown)
        : vocabulary_(&vocabulary), model_tokens_(model_tokens), unknown_(unknown) {}
    Result<void> encode(std::string_view text, Span word, ModelWork& work, std::vector<int32_t>& tokens) const override;

  private:
    const Vocabulary* vocabulary_;
    int32_t model_tokens_;
    int32_t unknown_;  // -1: none
};

}  // namespace invar
