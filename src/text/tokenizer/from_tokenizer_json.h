// Reads tokenizer.json, the one file in which the `tokenizers` library keeps all parts of a tokenizer. Features that
// are not supported are refused by name. The steps are implemented in normalizer.h, word_splitter.h and decoder.h.
#pragma once

#include <string>
#include <string_view>

#include "text/tokenizer/file_hints.h"
#include "text/tokenizer/json_tree.h"
#include "text/tokenizer/parts.h"

namespace invar {

// `origin` names the file in errors. `text` is untrusted.
Result<TokenizerParts> parts_from_tokenizer_json(std::string_view text, const std::string& origin,
                                                 const FileHints& hints);

// An added token. `normalized`: it is searched in the normalised text.
struct PlacedToken {
    AddedToken token;
    bool normalized = false;
};

struct ModelDescription;
struct DescribedParts;
// Makes the parts from what a file describes: gives tokens their ids, the model its encoder, and so on.
Result<TokenizerParts> assemble_parts(DescribedParts described, const std::string& origin, const FileHints& hints);

// Read the parts of the file, one function per key. `tree` is the value of the key.
Result<void> read_normalizer(const JsonTree& tree, const std::string& origin, Normalizer& normalizer);
Result<void> read_pre_tokenizer(const JsonTree& tree, const std::string& origin, WordSplitter& splitter);
Result<Decoder> read_decoder(const JsonTree& tree, const std::string& origin);

// A model before its vocabulary exists: its tokens by id, and what its kind of model needs.
struct ModelDescription {
    std::string kind;                                         // "BPE", "Unigram", "WordPiece" or "WordLevel"
    std::vector<std::string> tokens;                          // by id; empty if the model does not have this id
    std::vector<double> scores;                               // Unigram
    std::vector<std::pair<std::string, std::string>> merges;  // BPE, the strongest first
    std::optional<std::string> unknown;
    bool fuse_unknown = false, byte_fallback = false, whole_words_first = false;
    std::string subword_prefix, word_suffix;
    size_t most_characters = 100;
};
Result<ModelDescription> read_model(JsonTree& tree, const std::string& origin);
// `in_bytes`: words are passed as bytes, and tokens are spelled in stand-ins of bytes.
Result<std::unique_ptr<TokenModel>> make_model(const ModelDescription& description, const Vocabulary& vocabulary,
                                               bool in_bytes);

struct DescribedParts {
    ModelDescription model;
    std::vector<PlacedToken> added;
    Normalizer normalizer;
    WordSplitter splitter;
    Decoder decoder;
};

}  // namespace invar
