// Unigram: of all ways to spell a word in tokens, it takes the one with the highest sum of scores (Viterbi). Sources:
// the Unigram models of the `tokenizers` library (sums in binary64) and of sentencepiece (binary32); the tests compare
// with their ids. n bytes cost O(n * longest token).
#pragma once

#include <array>
#include <optional>

#include "text/tokenizer/token_model.h"
#include "text/tokenizer/vocabulary.h"

namespace invar {

struct UnigramRules {
    int32_t unknown = -1;  // -1: a character without a token is an error
    bool byte_fallback = false;
    bool sums_in_binary32 = false;
};

class UnigramEncoder : public TokenModel {
  public:
    // `vocabulary` must outlive this object. `scores` has one for each of the model's tokens, which come first in the
    // vocabulary. A token whose `takes_part` is false is never chosen, except by byte fallback.
    UnigramEncoder(const Vocabulary& vocabulary, std::vector<double> scores, std::vector<bool> takes_part,
                   UnigramRules rules);

    Result<void> encode(std::string_view text, Span word, ModelWork& work, std::vector<int32_t>& tokens) const override;

  private:
    struct Best {
        double score = 0;
        size_t begin = SIZE_MAX;  // SIZE_MAX: not reached
        int32_t token = -1;
    };
    // A node of the trie of all tokens.
    struct Node {
        uint32_t first_child = 0;  // index in `edges_`
        uint16_t children = 0;
        int32_t token = -1;
    };
    struct Edge {
        uint8_t byte;
        uint32_t node;
    };
    void build_trie();
    std::optional<uint32_t> child(uint32_t node, uint8_t byte) const;
    double sum(double a, double b) const;
    void keep_small(std::vector<Best>& best, size_t begin) const;
    Result<void> find_best(std::string_view word, std::vector<Best>& best) const;
    void emit_unknown(std::string_view run, std::vector<int32_t>& tokens) const;

    const Vocabulary* vocabulary_;
    std::vector<double> scores_;
    std::vector<bool> takes_part_;
    UnigramRules rules_;
    double unknown_score_ = 0;
    std::vector<Node> nodes_;
    std::vector<Edge> edges_;
    std::array<int32_t, 256> byte_tokens_{};  // -1: none
};

}  // namespace invar
