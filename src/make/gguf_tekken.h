// The tokenizer's part of a GGUF file from tekken.json, as llama.cpp's converter writes it: tokens as texts of
// byte-level BPE, and as merges every way in which a token is two others, in the order of ranks, which gives Tekken's
// own ids. How a text is tokenised is text/'s.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "files/gguf_writer.h"
#include "files/model_directory.h"

namespace invar {

// Tekken's expression, the one that GGUF has a name for.
inline constexpr std::string_view kTekkenExpression =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// `rows`: of the embedding; ids without a token up to there become unused ones. Errors name the file: it is no Tekken
// file, has more tokens than rows, or cuts texts in another way.
Result<void> add_tekken_vocabulary(const ModelDirectory& directory, int64_t rows, GgufWriter& writer);

}  // namespace invar
