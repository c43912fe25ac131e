// Reads tokenizer.model, the file of sentencepiece: a protocol buffer with pieces, their scores and kinds, and the
// rules of normalisation. BPE and Unigram are supported. Source: the sentencepiece library (0.2.3); the tests compare
// with its ids.
#pragma once

#include <string>
#include <string_view>

#include "text/tokenizer/file_hints.h"
#include "text/tokenizer/parts.h"
#include "text/tokenizer/sentence_piece_file.h"

namespace invar {

// `bytes` is untrusted; `origin` names the file in errors.
Result<TokenizerParts> parts_from_sentence_piece(std::string_view bytes, const std::string& origin,
                                                 const FileHints& hints);

// The same from what such a file says (for a GGUF file that says it in keys of its own).
Result<TokenizerParts> parts_of_sentence_piece(const SentencePieceFile& model, const std::string& origin,
                                               const FileHints& hints);

}  // namespace invar
