// Which files of a model directory hold the weights, from their names alone: an index and its shards, one file, or a
// numbered set. Where there are none, the refusal says what there is instead and what to do. Opening them and comparing
// them with the index is model_directory.cpp's.
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

// `only`: one .safetensors file of the folder that was asked for by name; empty: the whole folder. A file that is a
// shard of a set stands for the set.
Result<WeightFiles> find_weight_files(const Folder& folder, std::string_view only);

}  // namespace invar
