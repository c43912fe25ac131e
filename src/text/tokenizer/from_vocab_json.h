// Reads vocab.json with merges.txt, the oldest form of byte-level BPE. The files do not say how words are cut, but it
// is known for the tokenizer classes that used them.
#pragma once

#include <string>
#include <string_view>

#include "text/tokenizer/file_hints.h"
#include "text/tokenizer/parts.h"

namespace invar {

// Both texts are untrusted; `origin` names vocab.json in errors. `hints.pattern` cuts the words.
Result<TokenizerParts> parts_from_vocab_json(std::string_view vocabulary, std::string_view merges,
                                             const std::string& origin, bool normalizes_to_nfc, const FileHints& hints);

}  // namespace invar
