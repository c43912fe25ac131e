// Byte-level BPE without a list of merges, as Tekken's and tiktoken's files hold it: tokens are bytes, ordered by rank,
// and two neighbours merge while their union is a token, the lowest rank first. A word that is a token is that token.
// Source: the tiktoken library, whose ids the tests compare.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer/file_hints.h"
#include "text/tokenizer/parts.h"

namespace invar {

struct RankedBytes {
    std::vector<std::string> tokens;   // by rank
    int32_t first_id = 0;              // of rank 0
    std::string pattern;               // what cuts words
    std::vector<AddedToken> specials;  // with their ids; `special` false: found in any text
    std::string model;                 // for reports
};
// Errors: tokens that are empty or doubled, a byte without token, ids that overlap, a pattern that is none.
Result<TokenizerParts> parts_from_ranked_bytes(RankedBytes ranked, const std::string& origin, const FileHints& hints);

// tekken.json: Mistral's own file.
Result<TokenizerParts> parts_from_tekken(std::string_view text, const std::string& origin, const FileHints& hints);
// tiktoken.model and the like: one "base64 rank" a line. The pattern is `hints.pattern`, the specials are
// `hints.added`.
Result<TokenizerParts> parts_from_tiktoken(std::string_view text, const std::string& origin, const FileHints& hints);
// Whether a file holds such lines rather than a protobuf, whatever its name is.
bool looks_like_tiktoken(std::string_view text);

}  // namespace invar
