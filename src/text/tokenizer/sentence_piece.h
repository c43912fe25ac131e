// SentencePiece's BPE (GGUF model "llama"): spaces become U+2581, one is put before the text, and neighbouring
// characters are merged while their union is a token, the highest score first, the leftmost among equals. What is no
// token falls back to its bytes. n bytes cost O(n log n). Source: the sentencepiece library's bpe_model, whose ids the
// tests compare.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer/pattern.h"
#include "text/tokenizer/vocabulary.h"

namespace invar {

class SentencePieceEncoder {
  public:
    explicit SentencePieceEncoder(const Vocabulary& vocabulary);  // which must outlive it

    // Appends the tokens of text[piece], with a space put before it if `with_space_prefix`. `text` must be valid UTF-8.
    // An error where a character has neither a token nor its bytes, and there is no unknown token either.
    Result<void> encode(std::string_view text, Span piece, bool with_space_prefix, std::vector<int32_t>& tokens) const;

  private:
    struct Work;
    void propose(Work& work, int32_t left) const;
    Result<void> emit(Work& work, std::string_view symbol, std::vector<int32_t>& tokens) const;
    Result<void> emit_bytes(std::string_view character, std::vector<int32_t>& tokens) const;

    const Vocabulary* vocabulary_;
    std::array<int32_t, 256> byte_tokens_{};  // -1: none
    int32_t unknown_ = -1;
    // What merging may do with a token: nothing, pass through it and take it apart again, or end with it.
    enum class Use : uint8_t { none, step, result };
    std::vector<Use> uses_;  // by token
};

}  // namespace invar
