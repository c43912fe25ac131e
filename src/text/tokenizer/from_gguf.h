// Reads a vocabulary from GGUF's metadata, unchecked (vocabulary.h checks it). Decides which keys mean what, and the
// one thing that GGUF does not say and the family implies: Phi-3's special tokens swallow the white space behind them.
#pragma once

#include "base/result.h"
#include "files/metadata.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/vocabulary.h"

namespace invar {

// Errors name the file and the key: a missing tokenizer, a key of the wrong type.
Result<VocabularySource> vocabulary_from_gguf(const Metadata& metadata);
// The same, checked and ready for use.
Result<Tokenizer> tokenizer_from_gguf(const Metadata& metadata);

}  // namespace invar
