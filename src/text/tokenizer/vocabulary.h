// The tokens of a model after everything in the file was checked: the kind of each, the bytes it stands for, and the
// tokens that end an answer. It refuses what makes no sense and keeps a note of everything it did not take as the file
// says. It does not cut text into tokens (byte_pair.h, sentence_piece.h) and knows no file format (from_gguf.h).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer/token_index.h"

namespace invar {

// The numbers are GGUF's. `user_defined` texts are cut out of any input before everything else, `control` and `unknown`
// ones only if the caller allows it. `unused` ones are ordinary text that no model produces.
enum class TokenKind : uint8_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

// A token at which generation stops, and the reason for it.
struct EndToken {
    int32_t token;
    std::string reason;
};

// A vocabulary as read from a checkpoint, not yet trusted. -1: the file names no such token.
struct VocabularySource {
    // "gpt2": byte-level BPE; "llama": SentencePiece; "gemma4": BPE over characters; "bert": WordPiece; "t5": Unigram
    std::string model;
    std::string pre;           // how words are cut: "llama-bpe", "qwen2", ...; ignored for SentencePiece
    std::string architecture;  // decides if `pre` is missing and the family has only one
    std::vector<std::string> tokens;
    std::vector<int32_t> kinds;       // one per token; may be empty for "gpt2", where all are then normal
    std::vector<float> scores;        // one per token; used by "llama" and "t5"
    std::vector<std::string> merges;  // "left right", the first is the strongest; used by "gpt2" and "gemma4"
    bool has_merges = true;           // false: the file has no list of merges, not even an empty one
    int32_t bos = -1;
    int32_t eos = -1;
    int32_t eot = -1;  // end of a turn, if it differs from eos
    int32_t eom = -1;  // end of a message that expects a tool's answer
    int32_t unknown = -1;
    int32_t padding = -1;
    int32_t classification = -1;  // begins the text of an encoder
    int32_t separator = -1;       // ends it
    std::optional<bool> add_bos;
    std::optional<bool> add_eos;
    std::optional<bool> add_separator;
    std::optional<bool> add_space_prefix;
    std::optional<bool> remove_extra_spaces;       // "t5"
    std::string charsmap;                          // "t5": sentencepiece's compiled replacements; empty: none
    std::optional<bool> lowercase, strip_accents;  // "bert"
    std::vector<int32_t> suppressed;               // tokens that the file wants never to be chosen
    std::vector<int32_t> strip_after;              // special tokens that remove the white space behind them
    std::string origin;                            // file name, for errors
    // The text of each token, if a decoder of its own spells them (from_tokenizer_json.h). `model` is then a name for
    // reports only.
    std::optional<std::vector<std::string>> pieces;
    std::vector<EndToken> more_ends;  // tokens that other files name as the end of an answer
};

class Vocabulary {
  public:
    static Result<Vocabulary> check(VocabularySource source);

    int32_t size() const { return static_cast<int32_t>(source_.tokens.size()); }
    bool has(int32_t token) const { return token >= 0 && token < size(); }
    bool is_sentence_piece() const { return spelling_ == Spelling::space_marks && source_.model == "llama"; }

    // These may be called for tokens for which has() is true.
    TokenKind kind(int32_t token) const { return kinds_[token]; }
    std::string_view text(int32_t token) const { return source_.tokens[token]; }  // as stored
    float score(int32_t token) const { return source_.scores[token]; }            // SentencePiece only
    // The bytes that it stands for, which may be a part of a character. For control and unknown tokens it is the stored
    // text.
    std::string_view piece(int32_t token) const;
    // Whether piece() is text of an answer rather than a mark for the engine.
    bool is_shown(int32_t token) const;
    // Whether merging may produce this token: it is normal, or user-defined with the same bytes either way.
    bool is_mergeable(int32_t token) const;

    std::optional<int32_t> find(std::string_view stored_text) const;

    const VocabularySource& source() const { return source_; }  // checked
    std::span<const EndToken> end_tokens() const { return end_tokens_; }
    // Without the ends of an answer.
    std::span<const int32_t> suppressed() const { return source_.suppressed; }
    std::span<const std::string> notes() const { return notes_; }

    // The size in bytes of the longest stored text.
    size_t longest_text() const { return longest_text_; }

  private:
    explicit Vocabulary(VocabularySource source) : source_(std::move(source)) {}
    Result<void> check_sizes();
    Result<void> read_kinds();
    Result<void> index_tokens();
    Result<void> check_special_ids();
    Result<void> spell_pieces();
    void find_end_tokens();

    VocabularySource source_;
    enum class Spelling : uint8_t { byte_level, space_marks, given };
    Spelling spelling_ = Spelling::byte_level;
    std::vector<TokenKind> kinds_;
    std::string piece_bytes_;  // all pieces, one after another
    std::vector<size_t> piece_ends_;
    TokenIndex index_;
    std::vector<EndToken> end_tokens_;
    std::vector<std::string> notes_;
    size_t longest_text_ = 0;
};

// The byte for which a printable stand-in of byte-level vocabularies (GPT-2's) stands.
std::optional<uint8_t> byte_level_byte(char32_t character);

// Spell bytes in stand-ins, and back. A text with other characters stays as it is.
void append_byte_level_text(std::string& text, std::string_view bytes);
std::string byte_level_text(std::string_view bytes);
std::string bytes_of_byte_level(std::string_view text);

// The byte of "<0x0A>", which must have exactly that form, with upper- or lower-case digits.
std::optional<uint8_t> byte_token_byte(std::string_view text);

}  // namespace invar
