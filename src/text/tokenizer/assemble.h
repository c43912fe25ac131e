// Steps that all readers of a directory's tokenizer files share: they add the tokens that other files name to the
// vocabulary, apply the BOS and EOS rules of other files, and correct one known error of published files.
#pragma once

#include "text/tokenizer/file_hints.h"
#include "text/tokenizer/parts.h"

namespace invar {

// Sets BOS, EOS and the end tokens in `source`, checks it, and moves it into `parts` with its notes.
Result<void> add_vocabulary(VocabularySource source, const FileHints& hints, TokenizerParts& parts);

// Applies add_bos_token and add_eos_token of tokenizer_config.json, which override the tokenizer's own file.
void apply_end_rules(const FileHints& hints, TokenizerParts& parts);

// Tekken's vocabulary was published in a tokenizer.json with the expression of another tokenizer. This sets the right
// one.
Result<void> correct_mistral_pattern(const FileHints& hints, TokenizerParts& parts);

}  // namespace invar
