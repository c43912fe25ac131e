// The two kinds of vocabulary of encoders: WordPiece (BERT and its kin) and Unigram (T5, XLM-RoBERTa and their kin),
// from the files that say least about them: BERT's vocab.txt, and GGUF (`tokenizer.ggml.model` "bert" and "t5"). What
// these leave out is what the models' own code does, so that both containers give the same ids. tokenizer.json and
// sentencepiece's file say everything and have readers of their own.
#pragma once

#include <string>
#include <string_view>

#include "text/tokenizer/file_hints.h"
#include "text/tokenizer/parts.h"

namespace invar {

// What BERT's code takes from tokenizer_config.json, with its defaults.
struct BertRules {
    bool lowercase = true, strip_accents = true, handle_chinese_chars = true;
    std::string first = "[CLS]", last = "[SEP]", mask = "[MASK]";
};

// `text`: one token per line, the first is token 0. Errors: `first` or `last` is none of them.
Result<TokenizerParts> parts_from_vocab_txt(std::string_view text, const std::string& origin, const BertRules& rules,
                                            const FileHints& hints);

// From GGUF, where a token that begins a word is spelled with U+2581, and one that continues it without "##". [CLS] and
// [SEP] are put around a text, unless the file says no. Errors: the file names neither of them.
Result<TokenizerParts> parts_of_word_piece(const VocabularySource& source);

// From GGUF, with the sums in binary32, as in sentencepiece. Errors: lists of different lengths, a score that is not
// finite, a charsmap that does not fit.
Result<TokenizerParts> parts_of_unigram(const VocabularySource& source);

}  // namespace invar
