// Checks the index entry by entry, and that no name in it leaves the directory: see shard_index.h.
#include "files/shard_index.h"

#include <algorithm>

#include "base/json.h"
#include "files/json_document.h"
#include "files/printable.h"

namespace invar {
namespace {

// A shard is a file in the directory or below it. Only the name is checked: symbolic links are allowed, because a cache
// of downloads uses them.
bool stays_in_directory(std::string_view shard) {
    if (shard.empty() || shard.front() == '/' || shard.find('\0') != std::string_view::npos) return false;
    if (shard.find('\\') != std::string_view::npos) return false;  // a separator on other systems
    size_t begin = 0;
    while (begin <= shard.size()) {
        const size_t end = std::min(shard.find('/', begin), shard.size());
        const std::string_view part = shard.substr(begin, end - begin);
        if (part.empty() || part == "." || part == "..") return false;
        begin = end + 1;
    }
    return true;
}

Result<void> check_shard(const Json& shard, const std::string& tensor, const std::string& file) {
    if (!shard.is_string()) {
        return fail("{}: weight_map has {} for tensor '{}', but the name of a file is needed", file, kind_of(shard),
                    printable(tensor));
    }
    const auto& name = shard.get_ref<const std::string&>();
    if (!stays_in_directory(name)) {
        return fail("{}: tensor '{}' is said to be in '{}', which is not a name inside the directory", file,
                    printable(tensor), printable(name));
    }
    if (!name.ends_with(".safetensors")) {
        return fail("{}: tensor '{}' is said to be in '{}', which is not a .safetensors file", file, printable(tensor),
                    printable(name));
    }
    return {};
}

}  // namespace

Result<ShardIndex> parse_shard_index(std::string_view json, const std::string& file) {
    TRY_ASSIGN(const Json root, parse_json_document(json, file));
    if (!root.is_object()) return fail("{}: is {}, but an object with 'weight_map' is needed", file, kind_of(root));
    const auto map = root.find("weight_map");
    if (map == root.end()) return fail("{}: has no 'weight_map', which says where each tensor is", file);
    if (!map->is_object()) return fail("{}: 'weight_map' is {}, but an object is needed", file, kind_of(*map));
    if (map->empty()) return fail("{}: 'weight_map' names no tensor", file);

    ShardIndex index;
    for (const auto& [tensor, shard] : map->items()) {
        TRY(check_shard(shard, tensor, file));
        index.shards.push_back(shard.get<std::string>());
    }
    std::sort(index.shards.begin(), index.shards.end());
    index.shards.erase(std::unique(index.shards.begin(), index.shards.end()), index.shards.end());
    if (index.shards.size() > kMostShards) {
        return fail("{}: names {} shards; at most {} are possible", file, index.shards.size(), kMostShards);
    }
    for (const auto& [tensor, shard] : map->items()) {
        const auto place =
            std::lower_bound(index.shards.begin(), index.shards.end(), shard.get_ref<const std::string&>());
        const auto number = static_cast<size_t>(place - index.shards.begin());
        index.shard_of.emplace(tensor, number);
        index.order.emplace_back(tensor, number);
    }
    return index;
}

}  // namespace invar
