// Reads the index of a model in several SafeTensors files (model.safetensors.index.json): which file holds which
// tensor. It decides whether the index is well-formed and stays in its directory; model_directory.cpp compares it with
// the files. The index's metadata (total_size) is not used: writers disagree about what it counts.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"

namespace invar {

inline constexpr size_t kMostShards = 10'000;

struct ShardIndex {
    std::vector<std::string> shards;                    // sorted, each once
    std::unordered_map<std::string, size_t> shard_of;   // tensor -> place in shards
    std::vector<std::pair<std::string, size_t>> order;  // the same pairs in the order of the file
};

// Messages call the file `file`. Errors name it and the tensor: no weight_map, a shard that is not a text, a tensor
// that stands twice, a shard whose name leaves the directory or does not end in .safetensors, no tensor at all, too
// many shards.
Result<ShardIndex> parse_shard_index(std::string_view json, const std::string& file);

}  // namespace invar
