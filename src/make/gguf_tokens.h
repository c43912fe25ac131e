// The tokens of a GGUF file, made from a tokenizer of a directory: their texts, kinds, scores or merges, and the names
// under which GGUF says how texts are cut. As llama.cpp's converter makes them; where it does otherwise, the function
// says so. Which file of a directory is taken is gguf_vocabulary.h's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"
#include "base/result.h"
#include "files/gguf_writer.h"
#include "text/tokenizer/sentence_piece_file.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/vocabulary.h"

namespace invar {

struct GgufTokens {
    explicit GgufTokens(int64_t rows);

    std::string model;  // tokenizer.ggml.model: "gpt2", "llama", "bert" or "t5"
    std::string pre;    // tokenizer.ggml.pre
    // By id, one for each row of the embedding. Rows without a token are unused ones called [PADid].
    std::vector<std::string> texts;
    std::vector<TokenKind> kinds;
    std::vector<float> scores;        // "llama" and "t5"
    std::vector<std::string> merges;  // "gpt2" only
    std::optional<bool> add_space_prefix;
    std::optional<bool> lowercase, strip_accents;  // "bert"
    std::optional<bool> remove_extra_whitespaces;  // "t5"
    std::string charsmap;                          // "t5"; empty: none

    // Errors: the id is no row of the embedding.
    Result<void> set(const std::string& file, uint64_t id, std::string text, TokenKind kind, float score = 0);
    std::optional<uint32_t> id_of(std::string_view text) const;  // of a token that is not unused
    void write(GgufWriter& writer) const;
};

// A member of an object, or null where there is none. Used for files of which most keys do not matter here.
const Json* member(const Json& object, std::string_view key);
std::optional<std::string> text_of(const Json* value);
// Steps of a Sequence of tokenizer.json, or the one step there is.
std::vector<const Json*> steps_of(const Json& tokenizer, std::string_view key, std::string_view list_key);

// `file` names the file in errors; `rows` are the embedding's.

// Byte-level BPE of tokenizer.json. Errors: a way of cutting texts that has no name in GGUF.
Result<GgufTokens> byte_level_tokens(const Json& tokenizer, const std::string& file, int64_t rows);

// BPE over characters with bytes for the rest, in tokenizer.json: the form of Llama 2's and Mistral's tokenizers.
// GGUF says the order of merges by scores of tokens: the score of what the k-th new merge gives is -k. (The converter
// gives each token the same score, with which no text is cut as the model was trained.) Errors: steps or merges that
// GGUF cannot say.
Result<GgufTokens> character_tokens(const Json& tokenizer, const std::string& file, int64_t rows);

// tokenizer.model. Errors: a Unigram model, or one that normalises texts: GGUF's "llama" is BPE over the text as given.
Result<GgufTokens> sentence_piece_tokens(std::string_view model, const std::string& file, int64_t rows);

// Adds added_tokens of tokenizer.json.
Result<void> add_added_tokens(const Json& tokenizer, const std::string& file, float score, GgufTokens& tokens);

// WordPiece, of tokenizer.json or vocab.txt, whose tokenizer is `of_directory`: a token that begins a word is spelled
// with U+2581, one that continues it without "##". `config` is tokenizer_config.json. Errors: a normaliser other than
// BERT's.
Result<GgufTokens> word_piece_tokens(const Tokenizer& of_directory, const Json& tokenizer, const Json& config,
                                     const std::string& file, int64_t rows);

// Unigram, of tokenizer.json or of tokenizer.model. Errors: a vocabulary of another form.
Result<GgufTokens> unigram_tokens(const Json& tokenizer, const std::string& file, int64_t rows);
Result<GgufTokens> unigram_tokens_of_model(const SentencePieceFile& model, const std::string& file, int64_t rows);

// Tokens that other files state beside tokenizer.model: {"text": id} of added_tokens.json and added_tokens_decoder of
// tokenizer_config.json, the second over the first.
Result<void> add_tokens_json(const Json& added, const std::string& file, GgufTokens& tokens);
Result<void> add_tokens_decoder(const Json& config, const std::string& file, GgufTokens& tokens);

}  // namespace invar
