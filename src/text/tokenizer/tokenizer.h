// Text to tokens and back, through the parts that a reader of a file made (parts.h). It does not decide which template
// wraps a conversation (text/chat) or when generation stops. Readers: from_gguf.h for GGUF, tokenizer_files.h for the
// files of a model's directory. Rules and supported names: docs/tokenizers.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer/added_tokens.h"
#include "text/tokenizer/utf8.h"
#include "text/tokenizer/vocabulary.h"

namespace invar {

struct TokenizerParts;

class Tokenizer {
  public:
    explicit Tokenizer(TokenizerParts parts);
    // Errors name source.origin and what is wrong with the vocabulary; an unknown model or pre-tokeniser is one, with
    // the supported names.
    static Result<Tokenizer> create(VocabularySource source);

    Tokenizer(Tokenizer&&) noexcept;
    Tokenizer& operator=(Tokenizer&&) noexcept;
    ~Tokenizer();

    using Specials = invar::Specials;
    // BOS and EOS as the vocabulary asks for them. A BOS that the text already begins with is not doubled.
    enum class Ends : uint8_t { add, none };

    // Errors: text that is not UTF-8 (with the offset of the byte), longer than 64 MiB, or with a byte for which the
    // vocabulary has no token. Safe to call from several threads.
    Result<std::vector<int32_t>> encode(std::string_view text, Specials specials, Ends ends) const;

    // The bytes of one token, perhaps a part of a character. Control and unknown tokens give their stored text,
    // or nothing without `show_control`. Nothing for an id out of range.
    std::string piece(int32_t token, bool show_control = true) const;
    // The bytes of all tokens, without the space that encode() put in front (see adds_space_prefix()). For text that
    // was encoded with Specials::parse and show_control, or that has no special tokens, this is the text again; the
    // exceptions are in docs/tokenizers.md.
    std::string decode(std::span<const int32_t> tokens, bool show_control) const;

    int32_t size() const;
    bool has(int32_t token) const;
    TokenKind kind(int32_t token) const;         // `unused` for an id out of range
    std::string_view text(int32_t token) const;  // as stored; empty for an id out of range
    std::optional<int32_t> find(std::string_view stored_text) const;

    std::optional<int32_t> bos() const;
    std::optional<int32_t> eos() const;
    std::optional<int32_t> padding() const;
    bool adds_bos() const;
    bool adds_eos() const;
    // SentencePiece: a space is put before the text, and before what follows a special token; decode() takes one space
    // away at the same places.
    bool adds_space_prefix() const;

    bool is_end_of_generation(int32_t token) const;
    std::span<const EndToken> end_tokens() const;

    std::string_view model() const;          // GGUF: "gpt2", "llama" or "gemma4"; else what the file calls it
    std::string_view pre_tokenizer() const;  // the name in GGUF's table, empty elsewhere
    std::string_view taken_from() const;     // the file that it was read from
    // What was read differently than written, or left out; for reports.
    std::span<const std::string> notes() const;

  private:
    friend class TokenStream;
    struct Work;
    Result<void> encode_text(std::string_view text, bool starts_text, Specials specials, Work& work,
                             std::vector<int32_t>& tokens) const;
    std::unique_ptr<const TokenizerParts> parts_;
};

// Streaming detokenisation: whole characters as soon as they are complete. All of feed() and finish() joined is
// decode() of the same tokens with its invalid bytes replaced by U+FFFD.
class TokenStream {
  public:
    // `text`: the first token begins a text rather than continuing one, so a space that encode() put there is dropped.
    enum class Begins : uint8_t { text, continuation };
    TokenStream(const Tokenizer& tokenizer, bool show_control, Begins begins = Begins::text);

    std::string feed(int32_t token) {
        std::string piece;
        append_piece(token, piece);
        return utf8_.feed(piece);
    }
    std::string finish() { return utf8_.finish(); }

  private:
    friend class Tokenizer;
    void append_piece(int32_t token, std::string& text);
    void drop_at_begin(std::string& piece);
    void hold_back_end(std::string& piece);

    const Tokenizer* tokenizer_;
    bool show_control_;
    bool is_first_;       // the next piece is the first of the text
    bool drops_space_;    // the next piece, if it begins with a space that encode() may have put there
    size_t drops_start_;  // how many characters the beginning of the text still loses
    std::string held_;    // what the text loses if nothing follows
    Utf8Stream utf8_;
};

// The supported tokenizer models and pre-tokenisers, one line each, for listings.
std::vector<std::string> supported_tokenizers();

}  // namespace invar
