// Turns text into tokens and back, through the parts that a reader of a file made (parts.h). Chat templates (text/chat)
// and the end of generation are decided elsewhere. Readers: from_gguf.h for GGUF, tokenizer_files.h for the files of a
// directory. Rules and supported names: docs/tokenizers.md.
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
    // The error names source.origin and what is wrong with the vocabulary. An unknown model or pre-tokeniser is an
    // error that lists the supported names.
    static Result<Tokenizer> create(VocabularySource source);

    Tokenizer(Tokenizer&&) noexcept;
    Tokenizer& operator=(Tokenizer&&) noexcept;
    ~Tokenizer();

    using Specials = invar::Specials;
    // `add`: BOS and EOS as the vocabulary asks for them. If the text begins with BOS, no second one is added.
    enum class Ends : uint8_t { add, none };

    // Errors: the text is not UTF-8 (the error names the byte), is longer than 64 MiB, or has a byte for which the
    // vocabulary has no token. May be called from several threads.
    Result<std::vector<int32_t>> encode(std::string_view text, Specials specials, Ends ends) const;

    // The bytes of one token, which may be a part of a character. A control or unknown token gives its stored text, or
    // nothing if `show_control` is false. An id out of range gives nothing.
    std::string piece(int32_t token, bool show_control = true) const;
    // The bytes of all tokens, without the space that encode() put in front (see adds_space_prefix()). With
    // show_control, this is the encoded text again if that was encoded with Specials::parse or has no special tokens.
    // docs/tokenizers.md lists the exceptions.
    std::string decode(std::span<const int32_t> tokens, bool show_control) const;

    int32_t size() const;
    bool has(int32_t token) const;
    TokenKind kind(int32_t token) const;         // `unused` for an id out of range
    std::string_view text(int32_t token) const;  // as stored; empty for an id out of range
    std::optional<int32_t> find(std::string_view stored_text) const;

    std::optional<int32_t> bos() const;
    std::optional<int32_t> eos() const;
    std::optional<int32_t> padding() const;
    // What encode() with Ends::add puts in front of a text and behind it.
    std::span<const int32_t> before() const;
    std::span<const int32_t> behind() const;
    bool adds_bos() const;
    bool adds_eos() const;
    // Whether SentencePiece puts a space before the text and before what follows a special token. decode() then removes
    // one space at the same places.
    bool adds_space_prefix() const;

    bool is_end_of_generation(int32_t token) const;
    std::span<const EndToken> end_tokens() const;
    // Tokens that the files want never to be chosen (suppress_tokens of generation_config.json or of GGUF): places of
    // images, say. An end of generation is not among them, whatever the files say.
    std::span<const int32_t> suppressed() const;

    std::string_view model() const;          // in GGUF "gpt2", "llama" or "gemma4"; otherwise the kind of its model
    std::string_view pre_tokenizer() const;  // its name in GGUF's table; empty for other files
    std::string_view taken_from() const;     // the file that it was read from
    // What was left out or not taken as the file says; for reports.
    std::span<const std::string> notes() const;

  private:
    friend class TokenStream;
    struct Work;
    Result<void> encode_text(std::string_view text, bool starts_text, Specials specials, Work& work,
                             std::vector<int32_t>& tokens) const;
    std::unique_ptr<const TokenizerParts> parts_;
};

// Decodes a stream of tokens and gives whole characters as soon as they are complete. The results of all feed() and of
// finish(), joined, are decode() of the same tokens with invalid bytes replaced by U+FFFD.
class TokenStream {
  public:
    // `text`: the first token begins a text, so a space that encode() put there is dropped. `continuation`: it
    // continues one.
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
    bool drops_space_;    // drops the space with which the next piece begins, if encode() may have put it there
    size_t drops_start_;  // how many characters are still to be dropped at the beginning
    std::string held_;    // what the text loses if nothing follows
    Utf8Stream utf8_;
};

// The supported tokenizer models and pre-tokenisers, one line each, for listings.
std::vector<std::string> supported_tokenizers();

}  // namespace invar
