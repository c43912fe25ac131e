// Cuts tokens out of a text before anything else looks at it: control, unknown and user-defined ones, and those that a
// file adds to its model's vocabulary. The first place wins, and there the longest token. The cost of a search is the
// text times the length of what it almost matched, however many tokens there are.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer/vocabulary.h"

namespace invar {

// `parse`: the texts of control, unknown and user-defined tokens become these tokens (a rendered chat template).
// `as_text`: only user-defined ones do, because models never see the texts of these as anything but the tokens. If a
// user types "<|im_end|>", it stays text.
enum class Specials : uint8_t { parse, as_text };

struct AddedToken {
    std::string text;
    int32_t token = -1;
    bool special = false;      // stays text under Specials::as_text
    bool single_word = false;  // matches only if no letter, digit or mark touches it
    bool left_strip = false;   // removes the white space before it
    bool right_strip = false;  // removes the white space after it
};

class AddedTokens {
  public:
    // Two rules exist. In GGUF's, a match that does not count is ignored, and the search continues after the white
    // space that a match removed. In that of the `tokenizers` library, a match that does not count hides those that
    // overlap it, and the search continues right after the match.
    enum class Reading : uint8_t { gguf, library };

    AddedTokens() = default;
    // Entries with an empty text are left out. Of equal texts, the first entry counts.
    AddedTokens(std::vector<AddedToken> entries, Reading reading);
    // The control, unknown and user-defined tokens of a vocabulary, of which some strip on the right.
    static AddedTokens of_vocabulary(const Vocabulary& vocabulary);

    bool empty() const { return entries_.empty(); }

    struct Segment {
        size_t begin;
        size_t end;
        int32_t token;  // -1: a segment of text
    };
    // Replaces `segments` by the segments of `text`, in order. Segments of text are not empty.
    void cut(std::string_view text, Specials specials, std::vector<Segment>& segments) const;

    // The size in bytes of the longest entry that stands at `begin`; 0: none.
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
    std::vector<AddedToken> entries_;          // sorted by text
    std::array<uint32_t, 257> first_bytes_{};  // entries that start with byte b: [first_bytes_[b], first_bytes_[b + 1])
};

}  // namespace invar
