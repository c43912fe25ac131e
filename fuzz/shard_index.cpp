// Fuzzes the reader of model.safetensors.index.json. A text is an index or is refused with one sentence, and no shard
// of an index lies outside the directory. Seeds: fuzz/corpus/shard_index.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include "files/shard_index.h"
#include "require.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace invar;
    const auto index = parse_shard_index({reinterpret_cast<const char*>(data), size}, "m/index.json");
    if (!index) {
        const std::string& message = index.error().message;
        require(message.starts_with("m/index.json: ") && message.find('\n') == std::string::npos &&
                message.size() < 2000);
        return 0;
    }
    require(!index->shards.empty() && std::is_sorted(index->shards.begin(), index->shards.end()));
    require(index->order.size() == index->shard_of.size());
    for (const std::string& shard : index->shards) {
        const std::filesystem::path path = std::filesystem::path("/m") / shard;
        require(path.lexically_normal() == path && path.string().starts_with("/m/") && shard.ends_with(".safetensors"));
        require(shard.find('\0') == std::string::npos);
    }
    for (const auto& [tensor, shard] : index->order) {
        require(shard < index->shards.size() && index->shard_of.at(tensor) == shard);
    }
    return 0;
}
