// Compares the vocabulary written into a GGUF file with the directory's tokenizer from which it was made: the tokens
// that end an answer, the tokens of some texts, and flags of added tokens that a GGUF file cannot say.
#pragma once

#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "base/result.h"
#include "files/gguf_writer.h"
#include "text/tokenizer/tokenizer.h"

namespace invar {

// Reads the vocabulary that `writer` holds, as a reader of the finished file would. `file` names the tokenizer in
// errors: the vocabulary would be refused.
Result<Tokenizer> read_back(const GgufWriter& writer, const std::string& file);

// Writes the tokens that end an answer of the directory and not of the file as its end of sequence, turn or message,
// as far as these keys are free. The others become notes.
void add_end_tokens(const Tokenizer& of_directory, const Tokenizer& of_file, GgufWriter& writer,
                    std::vector<std::string>& notes);

// Compares what tokens stand for, and tokenises fixed texts with both. Texts that Unicode's NFC changes are left out if
// `composes`: the directory normalises to NFC, which a GGUF file does not say. Errors: the first token or text that
// differs, by both.
Result<void> check_tokens(const Tokenizer& of_directory, const Tokenizer& of_file, bool composes,
                          const std::string& file);

// Notes added tokens that strip white space or stand for whole words only, if the GGUF file has them differently.
// `tokens` is the list added_tokens of tokenizer.json, or the object added_tokens_decoder of tokenizer_config.json.
void note_added_tokens(const Json& tokens, const Tokenizer& of_directory, const Tokenizer& of_file,
                       std::vector<std::string>& notes);

}  // namespace invar
