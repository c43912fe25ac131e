// The words for hyper-parameters with their keys in each dialect, and what the code of a model type takes where
// config.json has no such key. hyperparameters.h reads values by them; a new number of a config is a row here.
#pragma once

#include <span>
#include <string_view>
#include <vector>

namespace invar {

// Our word for a hyper-parameter, and each dialect's. GGUF's keys stand behind "<architecture>."; of those of
// config.json and params.json the first that is there counts, new spelling first, "." leading into an object.
struct Word {
    std::string_view ours, gguf;
    std::vector<std::string_view> hugging_face = {}, mistral = {};
};

const std::vector<Word>& words();

// How models of some types spell a word where others spell it otherwise. Without a row it is the last spelling.
struct UsualKey {
    std::string_view kinds;  // the beginning of their model types; "": of all that have no row in front of this one
    std::string_view word, key;
};
std::span<const UsualKey> usual_keys();

// The value that the code of a model type takes if config.json has no such key. A key that is null counts as absent.
struct ClassDefault {
    std::string_view model_type, word;
    double value;
};
std::span<const ClassDefault> class_defaults();

}  // namespace invar
