// Cuts text into words, inside which byte-level BPE merges. Each way of cutting is a row of a table. A model that runs
// with another one than in training gives plausible but much worse text (a perplexity of 15.5 instead of 6.2 was
// measured), so a name that is not in the table is an error. SentencePiece has no such step. The table with its sources
// is in pre_tokenizer.cpp.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer/word_splitter.h"

namespace invar {

// One way of cutting, which a model's `tokenizer.ggml.pre` names.
struct PreTokenizerRow {
    std::string_view name;                          // the first of its names, for reports
    std::span<const std::string_view> also;         // other names for the same rules
    std::span<const std::string_view> expressions;  // applied in turn, each to the pieces that the previous one left
    bool whole_words_first = false;       // a word that is a token becomes that token, whatever the merges say
    bool last_only_begins_words = false;  // matches of the last expression begin words but end none
    bool adds_bos = false;                // if `tokenizer.ggml.add_bos_token` is missing
};

// Every row, for listings and tests.
std::span<const PreTokenizerRow> pre_tokenizer_rows();

// All names that find_pre_tokenizer() knows, in the table's order, separated by ", ".
std::string pre_tokenizer_names();

// GPT-2's expression, which tokenizer.json calls ByteLevel.
std::string_view gpt2_expression();

// nullptr if no row has the name.
const PreTokenizerRow* find_pre_tokenizer(std::string_view name);

// The cutting steps of a row. They keep all text: the matches and what lies between them.
Result<WordSplitter> splitter_of(const PreTokenizerRow& row);

}  // namespace invar
