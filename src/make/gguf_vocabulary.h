// The tokenizer's part of a GGUF file, from the tokenizer of a directory and what stands beside it: tokens with their
// kinds, merges or scores, special ids and the chat template, as llama.cpp's converter writes them. Byte-level BPE,
// Tekken and sentencepiece's BPE; how the tokens are made is gguf_tokens.h's, how a text is tokenised is text/'s.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "files/gguf_writer.h"
#include "files/model_directory.h"

namespace invar {

// `rows`: of the embedding; ids without a token up to there become unused ones. Errors name the file: no tokenizer, one
// of another kind or one that the reader of directories refuses, a damaged chat template, a way of cutting texts that
// GGUF cannot say, a text whose tokens would differ. The result is notes: what was lost that no token depends on.
Result<std::vector<std::string>> add_vocabulary(const ModelDirectory& directory, int64_t rows, GgufWriter& writer);

}  // namespace invar
