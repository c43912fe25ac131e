// Tokens that are cut out of a text before anything else looks at it: control, unknown and user-defined ones, and
// whatever a file adds to its model's vocabulary. At each place the longest wins, and the first place wins. A search
// costs the text times the length of what it almost matched, however many tokens there are.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer/vocabulary.h"

namespace invar {

// `parse`: texts of control, unknown and user-defined tokens become these tokens (a rendered chat template).
// `as_text`: only user-defined ones do, since models never see these spelled out; "<|im_end|>" typed by a user stays
// text.
enum class Specials : uint8_t { parse, as_text };

struct AddedToken {
    std::string text;
    int32_t token = -1;
    bool special = false;      // stays text under Specials::as_text
    bool single_word = false;  // only where no letter, digit or mark touches it
    bool left_strip = false;   // takes the white space before it along
    bool right_strip = false;  // takes the white space behind it along
};

class AddedTokens {
  public:
    // Two readings exist. In GGUF's, a text that does not count is as if it were not there, and the search goes on
    // behind what a match took along. In the `tokenizers` library's, a text that does not count hides those that
    // overlap it, and the search goes on behind the match itself.
    enum class Reading : uint8_t { gguf, library };

    AddedTokens() = default;
    // Entries with an empty text are left out; of equal texts the first counts.
    AddedTokens(std::vector<AddedToken> entries, Reading reading);
    // The control, unknown and user-defined tokens of a vocabulary, some of which strip on the right.
    static AddedTokens of_vocabulary(const Vocabulary& vocabulary);

    bool empty() const { return entries_.empty(); }

    struct Segment {
        size_t begin;
        size_t end;
        int32_t token;  // -1: text
    };
    // Replaces `segments` by the segments of `text`, in order; those of text are not empty.
    void cut(std::string_view text, Specials specials, std::vector<Segment>& segments) const;

    // Bytes of the longest entry at `begin`; 0: none.
    size_t longest_at(std::string_view text, size_t begin) const;

  private:
    struct Match {
        size_t begin;
        size_t end;
        const AddedToken* entry;
    };
    std::optional<Match> find(std::string_view text, size_t from, Specials specials) const;
    std::optional<Match> match_at(std::string_view text, size_t begin, Specials specials) const;
    bool counts(std::string_view text, const Match& match, Specials specials) const;

    Reading reading_ = Reading::gguf;
    std::vector<AddedToken> entries_;          // by text, ascending
    std::array<uint32_t, 257> first_bytes_{};  // entries that start with byte b: [first_bytes_[b], first_bytes_[b + 1])
};

}  // namespace invar
