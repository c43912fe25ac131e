// The expressions that cut words, for files that hold a vocabulary but no expression: tiktoken's and vocab.json. They
// are known by the model type in config.json or by the tokenizer class. Nothing is guessed, because a wrong expression
// would damage the text unnoticed.
#pragma once

#include <string>
#include <string_view>

namespace invar {

struct KnownPattern {
    std::string_view name;  // the model type or the tokenizer class
    std::string_view expression;
    bool normalizes_to_nfc = false;
};

// nullptr if it is not known.
const KnownPattern* tiktoken_pattern(std::string_view model_type);
std::string tiktoken_model_types();  // for errors, separated by ", "
// Finds it by the class, or by the model type if there is no class.
const KnownPattern* vocab_json_pattern(std::string_view tokenizer_class, std::string_view model_type);

}  // namespace invar
