// Byte-level BPE: a text is cut into words (pre_tokenizer.h), a word into its bytes, and neighbours are merged, the
// strongest pair of the word first, the leftmost among equals, until no pair is in the table. n bytes cost O(n log n).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "text/tokenizer/merge.h"
#include "text/tokenizer/pre_tokenizer.h"
#include "text/tokenizer/vocabulary.h"

namespace invar {

// Pairs of neighbouring tokens that may become one. Open addressing: a lookup is one or two cache lines, and a text
// of n bytes makes up to 3 n of them.
class MergeTable {
  public:
    explicit MergeTable(size_t most_merges);
    void insert(int32_t left, int32_t right, Merge merge);  // keeps what is there
    Merge find(int32_t left, int32_t right) const;

  private:
    struct Slot {
        uint64_t pair = kFree;
        Merge merge = {};
    };
    static constexpr uint64_t kFree = UINT64_MAX;  // not a pair of tokens: these are below 2^31
    size_t place_of(uint64_t pair) const;

    std::vector<Slot> slots_;  // a power of two, at most half full
    int shift_;
};

class BytePairEncoder {
  public:
    // Uses the merges of vocabulary.source(). Those that do not join two tokens to a third with the same bytes are
    // left out and counted in `notes`. `vocabulary` must outlive it.
    static Result<BytePairEncoder> create(const Vocabulary& vocabulary, PreTokenizer pre_tokenizer,
                                          std::vector<std::string>& notes);

    // What encoding needs besides the encoder; one for each call.
    struct Workspace {
        Pattern::Workspace search;
        std::vector<Span> words;
        MergeWork merges;
    };

    // Appends the tokens of text[piece]. `text` must be valid UTF-8. An error if the vocabulary has no token for a
    // byte.
    Result<void> encode(std::string_view text, Span piece, Workspace& workspace, std::vector<int32_t>& tokens) const;

    const PreTokenizer& pre_tokenizer() const { return pre_tokenizer_; }

  private:
    BytePairEncoder(const Vocabulary& vocabulary, PreTokenizer pre_tokenizer, size_t most_merges)
        : vocabulary_(&vocabulary), pre_tokenizer_(std::move(pre_tokenizer)), merges_(most_merges) {}
    void index_bytes_and_words();
    Result<void> read_merges(std::vector<std::string>& notes);
    Result<void> encode_word(std::string_view text, Span word, Workspace& workspace,
                             std::vector<int32_t>& tokens) const;

    const Vocabulary* vocabulary_;
    PreTokenizer pre_tokenizer_;
    MergeTable merges_;
    std::array<int32_t, 256> byte_tokens_{};  // -1: none
    std::optional<TokenIndex> words_;         // by their bytes, where whole words come first
};

}  // namespace invar
