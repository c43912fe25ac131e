// Byte-level BPE: a text is cut into words (word_splitter.h), a word into its bytes, and neighbours are merged, the
// strongest pair of the word first, the leftmost among equals, until no pair is in the table. n bytes cost O(n log n).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "text/tokenizer/token_model.h"
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

// The merges of vocabulary.source(), which are texts with one space between them. Those that do not join two tokens to
// a third with the same bytes are left out and counted in `notes`.
Result<MergeTable> read_merges(const Vocabulary& vocabulary, std::vector<std::string>& notes);

class BytePairEncoder : public TokenModel {
  public:
    // `vocabulary` must outlive it. `whole_words_first`: a word that is a token is that token, whatever the merges say.
    BytePairEncoder(const Vocabulary& vocabulary, MergeTable merges, bool whole_words_first);

    // An error if the vocabulary has no token for a byte.
    Result<void> encode(std::string_view text, Span word, ModelWork& work, std::vector<int32_t>& tokens) const override;

  private:
    const Vocabulary* vocabulary_;
    MergeTable merges_;
    std::array<int32_t, 256> byte_tokens_{};  // -1: none
    std::optional<TokenIndex> words_;         // by their bytes, where whole words come first
};

}  // namespace invar
