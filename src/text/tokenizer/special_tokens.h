// Finds the tokens that are cut out of a text before anything else: control, unknown and user-defined ones. At each
// place the longest wins, and the first place wins. A search costs the text times the length of what it almost matched,
// however many special tokens there are.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "text/tokenizer/vocabulary.h"

namespace invar {

// `parse`: texts of control, unknown and user-defined tokens become these tokens (a rendered chat template).
// `as_text`: only user-defined ones do, since models never see these spelled out; "<|im_end|>" typed by a user stays
// text.
enum class Specials : uint8_t { parse, as_text };

class SpecialTokens {
  public:
    explicit SpecialTokens(const Vocabulary& vocabulary);  // which must outlive it

    struct Match {
        size_t begin;
        size_t end;
        int32_t token;
    };
    // The first match that starts at `from` or later.
    std::optional<Match> find(std::string_view text, size_t from, Specials specials) const;

  private:
    struct Entry {
        std::string_view text;
        int32_t token;
        bool is_user_defined;
    };
    std::optional<Match> match_at(std::string_view text, size_t begin, Specials specials) const;

    std::vector<Entry> entries_;               // by text, ascending
    std::array<uint32_t, 257> first_bytes_{};  // entries that start with byte b: [first_bytes_[b], first_bytes_[b + 1])
};

}  // namespace invar
