// BPE over characters. A word is cut into its characters, and each becomes its token, the tokens of its bytes, or the
// unknown token. Then neighbours are merged as in byte_pair.h. Source of the rules: the BPE model of the `tokenizers`
// library; the tests compare with its ids.
#pragma once

#include <array>
#include <optional>

#include "text/tokenizer/byte_pair.h"
#include "text/tokenizer/token_model.h"
#include "text/tokenizer/vocabulary.h"

namespace invar {

struct CharacterPairRules {
    int32_t unknown = -1;        // -1: a character without a token is an error
    bool fuse_unknown = false;   // a run of unknown characters becomes one unknown token
    bool byte_fallback = false;  // a character without a token becomes the tokens <0x00> to <0xFF> of its bytes
    bool whole_words_first = false;
    std::string subword_prefix;  // put before every character of a word but the first
    std::string word_suffix;     // put after the last character of a word
};

class CharacterPairEncoder : public TokenModel {
  public:
    // `vocabulary` must outlive this object. Tokens below `model_tokens` belong to the model; the others are added
    // tokens.
    CharacterPairEncoder(const Vocabulary& vocabulary, int32_t model_tokens, CharacterPairRules rules,
                         MergeTable merges);

    Result<void> encode(std::string_view text, Span word, ModelWork& work, std::vector<int32_t>& tokens) const override;

  private:
    std::optional<int32_t> find(std::string_view text) const;
    Result<void> append_characters(std::string_view text, Span word, ModelWork& work) const;
    bool append_bytes(std::string_view spelled, uint32_t begin, ModelWork& work) const;

    const Vocabulary* vocabulary_;
    int32_t model_tokens_;
    CharacterPairRules rules_;
    MergeTable merges_;
    std::array<int32_t, 256> byte_tokens_{};  // -1: none
};

}  // namespace invar
