// What tokenizer.model says, sentencepiece's own file: a protocol buffer with pieces, their scores and kinds, and the
// rules of normalisation. How a text is cut with it is from_sentence_piece.h's; how GGUF says the same is make/'s.
// Source: the sentencepiece library (0.2.3).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace invar {

struct SentencePieceFile {
    std::vector<std::string> pieces;
    std::vector<float> scores;
    std::vector<int32_t> kinds;  // TokenKind's numbers, which are the file's
    int32_t type = 1;            // 1 Unigram, 2 BPE
    bool space_as_suffix = false;
    std::string bos = "<s>", eos = "</s>",
                padding = "<pad>";  // pieces of these texts have the role, where there are any
    std::string charsmap, denormalizer;
    bool add_dummy_prefix = true, remove_extra_whitespaces = true, escape_whitespaces = true;
};

// `bytes` is untrusted. Errors do not name the file: a length that leaves it, no pieces, a model that is neither BPE
// nor Unigram, spaces behind words or not escaped, a denormaliser.
Result<SentencePieceFile> read_sentence_piece_file(std::string_view bytes);

}  // namespace invar
