// Decides from names alone which files of a model directory hold the weights: an index and its shards, one file, or a
// numbered set. If there are none, the refusal says what is there instead and what to do. model_directory.cpp opens
// them and compares them with the index.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "files/folder.h"
#include "files/shard_index.h"

namespace invar {

struct WeightFiles {
    std::vector<std::string> files;  // in order
    bool consolidated = false;       // Mistral's own layout
    std::string index_file;          // empty where there is no index
    ShardIndex index;
};

// `only` is the file of the folder that the user named; empty: the whole folder. A .safetensors file that is a shard of
// a set stands for the set; config.json, params.json or an index stands for the weights that it describes.
Result<WeightFiles> find_weight_files(const Folder& folder, std::string_view only);

}  // namespace invar
