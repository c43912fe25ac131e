// Writes the tokenizer's part of a GGUF file from tokenizer.json and the files beside it, as llama.cpp's converter
// does: tokens with their types, merges, the name of the pre-tokenizer, special ids and the chat template. Byte-level
// BPE only. text/ tokenises texts.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "files/gguf_writer.h"
#include "files/model_directory.h"

namespace invar {

// `rows` is the number of rows of the embedding; ids without a token up to there become unused ones. Errors name the
// file: no tokenizer.json, a tokenizer of another kind, a way of cutting texts that has no name in GGUF.
Result<void> add_vocabulary(const ModelDirectory& directory, int64_t rows, GgufWriter& writer);

}  // namespace invar
