// The tokenizer's part of a GGUF file, from tokenizer.json and what stands beside it: tokens with their types, merges,
// the name of the pre-tokenizer, special ids and the chat template, as llama.cpp's converter writes them. Byte-level
// BPE only, and Tekken where there is no tokenizer.json (gguf_tekken.h); how a text is tokenised is text/'s.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "files/gguf_writer.h"
#include "files/model_directory.h"

namespace invar {

// `rows`: of the embedding; ids without a token up to there become unused ones. Errors name the file: no
// tokenizer.json, a tokenizer of another kind, a way of cutting texts that has no name in GGUF.
Result<void> add_vocabulary(const ModelDirectory& directory, int64_t rows, GgufWriter& writer);

}  // namespace invar
