// The index of a model in several SafeTensors files (model.safetensors.index.json): which file holds which tensor.
// Decides whether the index is well-formed and stays in its directory; whether it agrees with the files is decided in
// model_directory.cpp. The index's metadata (total_size) is not used: writers disagree about what it counts.
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

// `file` is how messages call the file. Errors name it and the tensor: no weight_map, a shard that is no text, a tensor
// twice, a shard whose name leaves the directory or does not end in .safetensors, no tensor at all, too many shards.
Result<ShardIndex> parse_shard_index(std::string_view json, const std::string& file);

}  // namespace invar
