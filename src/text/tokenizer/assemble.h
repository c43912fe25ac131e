// Steps that the readers of a directory's tokenizer files share: the vocabulary with the tokens that other files name,
// the ends that they ask for, and one known error of published files.
#pragma once

#include "text/tokenizer/file_hints.h"
#include "text/tokenizer/parts.h"

namespace invar {

// Names BOS, EOS and the ends in `source`, checks it, and puts it into `parts` with its notes.
Result<void> add_vocabulary(VocabularySource source, const FileHints& hints, TokenizerParts& parts);

// add_bos_token and add_eos_token of tokenizer_config.json, where they are set, over what the tokenizer's file says.
void apply_end_rules(const FileHints& hints, TokenizerParts& parts);

// Tekken's vocabulary was published in tokenizer.json with the expression of another tokenizer: sets the right one.
Result<void> correct_mistral_pattern(const FileHints& hints, TokenizerParts& parts);

}  // namespace invar
