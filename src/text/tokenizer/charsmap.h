// Reads SentencePiece's compiled table of replacements (`precompiled_charsmap`): a double-array trie over UTF-8, and
// the texts that its leaves point to. Layout: u32 size of the trie in bytes (little endian), the trie's u32 units, then
// texts that end in NUL. Source: the sentencepiece library's normalizer and its Darts trie. normalizer.cpp decides when
// a replacement applies.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace invar {

class Charsmap {
  public:
    // `bytes` is untrusted. The error says what does not fit.
    static Result<Charsmap> read(std::string_view bytes);

    struct Match {
        size_t bytes;  // how many bytes of the text are replaced
        std::string_view replacement;
    };
    // The shortest or the longest start of `text` that has a replacement.
    std::optional<Match> shortest(std::string_view text) const { return find(text, true); }
    std::optional<Match> longest(std::string_view text) const { return find(text, false); }

  private:
    std::optional<Match> find(std::string_view text, bool shortest) const;

    std::vector<uint32_t> units_;
    std::string texts_;
};

}  // namespace invar
