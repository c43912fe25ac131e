// How words are cut, for files that hold a vocabulary and not that: tiktoken's and vocab.json. Known by the model type
// of config.json or the tokenizer class; a wrong expression would spoil the text unnoticed, so nothing is guessed.
#pragma once

#include <string>
#include <string_view>

namespace invar {

struct KnownPattern {
    std::string_view name;  // the model type or the tokenizer class
    std::string_view expression;
    bool normalizes_to_nfc = false;
};

// nullptr where it is not known.
const KnownPattern* tiktoken_pattern(std::string_view model_type);
std::string tiktoken_model_types();  // for errors, separated by ", "
// By the class, or by the model type where there is no class.
const KnownPattern* vocab_json_pattern(std::string_view tokenizer_class, std::string_view model_type);

}  // namespace invar
