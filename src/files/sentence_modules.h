// Reads modules.json of a model directory: the steps of sentence-transformers that make vectors of what a model gives.
// It decides which files belong to a step and refuses paths that lead elsewhere; embed/embedding_config.h decides what
// a step means.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "files/folder.h"

namespace invar {

inline constexpr std::string_view kSentenceModules = "modules.json";
inline constexpr size_t kMostSentenceModules = 64;

struct SentenceModule {
    std::string kind;    // "Pooling": the last part of a class of sentence-transformers; of any other its whole name
    std::string folder;  // "1_Pooling"; "": the directory itself
    Json config = {};    // an object, that of config.json in its folder; null where there is none
    std::string config_name = {};  // its path, as messages call it
    bool has_weights = false;      // its folder has a model.safetensors

    std::string weights() const { return folder + "/model.safetensors"; }
};

// In their order. Errors: not a list of objects with a type and a path; a path that is not the name of a subfolder, or
// stands twice; a config.json that is not an object.
Result<std::vector<SentenceModule>> read_sentence_modules(const Folder& folder);

}  // namespace invar
