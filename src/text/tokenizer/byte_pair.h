// Byte-level BPE. A text is cut into words (word_splitter.h) and a word into its bytes. Then neighbours are merged
// until the table has no pair of them: always the strongest pair of the word, and among equals the leftmost. n bytes
// cost O(n log n).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "text/tokenizer/token_model.h"
#include "text/tokenizer/vocabulary.h"

namespace invar {

// The pairs of tokens that may merge, by open addressing: a lookup reads one or two cache lines, and a text of n bytes
// makes up to 3 n lookups.
class MergeTable {
  public:
    explicit MergeTable(size_t most_merges);
    void insert(int32_t left, int32_t right, Merge merge);  // keeps an entry that is already there
    Merge find(int32_t left, int32_t right) const;

  private:
    struct Slot {
        uint64_t pair = kFree;
        Merge merge = {};
    };
    static constexpr uint64_t kFree = UINT64_MAX;  // no pair of tokens, because ids are below 2^31
    size_t place_of(uint64_t pair) const;

    std::vector<Slot> slots_;  // a power of two, at most half full
    int shift_;
};

// Reads the merges of vocabulary.source(), which are pairs of texts with one space between them. A pair that does not
// join two tokens to a third with the same bytes is left out and counted in `notes`.
Result<MergeTable> read_merges(const Vocabulary& vocabulary, std::vector<std::string>& notes);

class BytePairEncoder : public TokenModel {
  public:
    // `vocabulary` must outlive this object. `whole_words_first`: a word that is a token becomes that token, whatever
    // the merges say.
    BytePairEncoder(const Vocabulary& vocabulary, MergeTable merges, bool whole_words_first);

    // Errors: the vocabulary has no token for a byte.
    Result<void> encode(std::string_view text, Span word, ModelWork& work, std::vector<int32_t>& tokens) const override;

  private:
    const Vocabulary* vocabulary_;
    MergeTable merges_;
    std::array<int32_t, 256> byte_tokens_{};  // -1: none
    std::optional<TokenIndex> words_;         // tokens by their bytes, if whole words come first
};

}  // namespace invar
