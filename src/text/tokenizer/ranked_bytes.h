// Byte-level BPE without a list of merges, as the files of Tekken and tiktoken have it. Tokens are bytes, ordered by
// rank. Two neighbours merge if their union is a token, the lowest rank first. A word that is a token becomes that
// token. Source: the tiktoken library; the tests compare with its ids.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer/file_hints.h"
#include "text/tokenizer/parts.h"

namespace invar {

struct RankedBytes {
    std::vector<std::string> tokens;   // by rank
    int32_t first_id = 0;              // the id of rank 0
    std::string pattern;               // the expression that cuts words
    std::vector<AddedToken> specials;  // with their ids; if `special` is false, found in any text
    std::string model;                 // for reports
};
// Errors: a token that is empty or occurs twice, a byte without a token, ids that overlap, an invalid pattern.
Result<TokenizerParts> parts_from_ranked_bytes(RankedBytes ranked, const std::string& origin, const FileHints& hints);

// Reads tekken.json, Mistral's own file.
Result<TokenizerParts> parts_from_tekken(std::string_view text, const std::string& origin, const FileHints& hints);
// Reads tiktoken.model and the like: one "base64 rank" per line. The pattern is `hints.pattern`, the special tokens are
// `hints.added`.
Result<TokenizerParts> parts_from_tiktoken(std::string_view text, const std::string& origin, const FileHints& hints);
// Whether a file holds such lines rather than a protocol buffer, whatever its name is.
bool looks_like_tiktoken(std::string_view text);

}  // namespace invar
