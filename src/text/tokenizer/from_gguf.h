// Reads a vocabulary from GGUF's metadata without checking it (vocabulary.h does). It decides what each key means, and
// adds one rule that GGUF does not state: Phi-3's special tokens swallow the white space behind them.
#pragma once

#include "base/result.h"
#include "files/metadata.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/vocabulary.h"

namespace invar {

// The error names the file and the key: a missing tokenizer, or a key of the wrong type.
Result<VocabularySource> vocabulary_from_gguf(const Metadata& metadata);
// Reads a vocabulary, checks it and makes the tokenizer.
Result<Tokenizer> tokenizer_from_gguf(const Metadata& metadata);

}  // namespace invar
