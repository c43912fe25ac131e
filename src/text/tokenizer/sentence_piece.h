// SentencePiece's BPE (GGUF model "llama"). Spaces become U+2581 and one is put before the text. Neighbouring
// characters are merged (merge.h) while their union is a token, the highest score first. Text without a token falls
// back to its bytes. Source: the bpe_model of the sentencepiece library; the tests compare with its ids.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer/token_model.h"
#include "text/tokenizer/vocabulary.h"

namespace invar {

class SentencePieceEncoder : public TokenModel {
  public:
    // The form of a word: text that gets a space before it (`prefixed`) or not (`plain`), or text that already has
    // marks instead of spaces (`marked`).
    enum class Input : uint8_t { plain, prefixed, marked };
    // `vocabulary` must outlive this object.
    SentencePieceEncoder(const Vocabulary& vocabulary, Input input);

    // Errors: a character has no token, its bytes have none, and there is no unknown token.
    Result<void> encode(std::string_view text, Span word, ModelWork& work, std::vector<int32_t>& tokens) const override;

  private:
    struct Work;
    // What merging may do with a token: nothing, pass through it and take it apart again, or end with it.
    enum class Use : uint8_t { none, step, result };

    void merge_word(Work& work, Span word) const;
    Result<void> emit(Work& work, Span symbol, std::vector<int32_t>& tokens) const;
    Result<void> emit_bytes(std::string_view character, std::vector<int32_t>& tokens) const;

    const Vocabulary* vocabulary_;
    Input input_;
    std::array<int32_t, 256> byte_tokens_{};  // -1: none
    int32_t unknown_ = -1;                    // the one that the file names, or else the first of that kind
    std::vector<Use> uses_;                   // by token
    std::vector<uint32_t> ranks_;             // by token: the place of its score among all scores, highest first
    // True if in no token a space follows another character. Then no merge crosses such a place, and the text may be
    // cut there: the ids are the same, and the words stay in the cache (4.7 times faster on a text of 4 MB).
    bool spaces_begin_words_ = true;
};

}  // namespace invar
