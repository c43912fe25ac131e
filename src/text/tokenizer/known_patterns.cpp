// Sources: the tokenizer code that Kimi, Llama 3, gpt-oss and Qwen publish with their models. The expressions are those
// in the rows of pre_tokenizer.cpp.
#include "text/tokenizer/known_patterns.h"

#include <algorithm>
#include <iterator>

#include "text/tokenizer/pre_tokenizer.h"

namespace invar {
namespace {

std::string_view of_row(std::string_view row) { return find_pre_tokenizer(row)->expressions[0]; }

const KnownPattern kTiktoken[] = {{"kimi_k2", of_row("kimi-k2")},     {"kimi_k25", of_row("kimi-k2")},
                                  {"kimi_linear", of_row("kimi-k2")}, {"kimi_vl", of_row("kimi-k2")},
                                  {"llama", of_row("llama-bpe")},     {"gpt_oss", of_row("gpt-4o")}};

const KnownPattern kVocabJson[] = {{"GPT2Tokenizer", gpt2_expression()},
                                   {"GPT2TokenizerFast", gpt2_expression()},
                                   {"gpt2", gpt2_expression()},
                                   {"CodeGenTokenizer", gpt2_expression()},
                                   {"GPTNeoXTokenizer", gpt2_expression()},
                                   {"Qwen2Tokenizer", of_row("qwen2"), true},
                                   {"Qwen2TokenizerFast", of_row("qwen2"), true},
                                   {"qwen2", of_row("qwen2"), true},
                                   {"qwen2_moe", of_row("qwen2"), true},
                                   {"qwen3", of_row("qwen2"), true},
                                   {"qwen3_moe", of_row("qwen2"), true}};

template <size_t n>
const KnownPattern* find(const KnownPattern (&known)[n], std::string_view name) {
    const auto found =
        std::find_if(std::begin(known), std::end(known), [&](const auto& row) { return row.name == name; });
    return found == std::end(known) ? nullptr : found;
}

}  // namespace

const KnownPattern* tiktoken_pattern(std::string_view model_type) { return find(kTiktoken, model_type); }

std::string tiktoken_model_types() {
    std::string names;
    for (const KnownPattern& row : kTiktoken) names.append(names.empty() ? "" : ", ").append(row.name);
    return names;
}

const KnownPattern* vocab_json_pattern(std::string_view tokenizer_class, std::string_view model_type) {
    return find(kVocabJson, tokenizer_class.empty() ? model_type : tokenizer_class);
}

}  // namespace invar
