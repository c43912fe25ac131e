// How text is cut into words before byte-level BPE merges inside them. One row of a table for each way; models that
// were trained with one and run with another give plausible but much worse text (perplexity 15.5 instead of 6.2 was
// measured in the field), so a name that is not in the table is an error. SentencePiece has no such step.
// The table with its sources: pre_tokenizer.cpp.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer/word_splitter.h"

namespace invar {

// One way of cutting, as a model's `tokenizer.ggml.pre` names it.
struct PreTokenizerRow {
    std::string_view name;                          // the first of its names, used in reports
    std::span<const std::string_view> also;         // other names for the same rules
    std::span<const std::string_view> expressions;  // applied in turn, each to the pieces that the previous ones left
    bool whole_words_first = false;                 // a word that is a token is that token, whatever the merges say
    bool last_only_begins_words = false;            // matches of the last expression begin words, and end none
    bool adds_bos = false;                          // where `tokenizer.ggml.add_bos_token` is missing
};

// Every row, for listings and tests.
std::span<const PreTokenizerRow> pre_tokenizer_rows();

// All names that find_pre_tokenizer() knows, in the table's order, separated by ", ".
std::string pre_tokenizer_names();

// GPT-2's expression, which tokenizer.json calls ByteLevel.
std::string_view gpt2_expression();

// nullptr when no row has the name.
const PreTokenizerRow* find_pre_tokenizer(std::string_view name);

// The steps of a row; each cuts, and keeps what it finds and what lies between.
Result<WordSplitter> splitter_of(const PreTokenizerRow& row);

}  // namespace invar
