// Shared by the tests of model directories: small directories in memory, made by hand, and the result of opening one.
#pragma once

#include <fmt/format.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "files/model_directory.h"
#include "files/safetensors_bytes.h"

namespace invar {

using TestFiles = std::map<std::string, std::string>;

inline std::string safetensors_entry(std::string_view name, size_t begin, size_t bytes) {
    return fmt::format(R"("{}":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}})", name, bytes, begin,
                       begin + bytes);
}

// A file of one tensor of four bytes for each name.
inline std::string safetensors_with(const std::vector<std::string>& names) {
    std::string header;
    for (size_t i = 0; i < names.size(); ++i) header += (i ? "," : "") + safetensors_entry(names[i], 4 * i, 4);
    return safetensors_bytes("{" + header + "}", 4 * names.size());
}

// Two shards, their index and a config: valid.
inline TestFiles sharded_directory() {
    return {{"config.json", R"({"model_type": "qwen3", "num_hidden_layers": 2})"},
            {"model-00001-of-00002.safetensors", safetensors_with({"a.weight", "b.weight"})},
            {"model-00002-of-00002.safetensors", safetensors_with({"c.weight"})},
            {"model.safetensors.index.json",
             R"({"metadata": {"total_size": 12}, "weight_map": {"a.weight": "model-00001-of-00002.safetensors",)"
             R"( "b.weight": "model-00001-of-00002.safetensors", "c.weight": "model-00002-of-00002.safetensors"}})"}};
}

inline TestFiles single_directory() {
    return {{"config.json", R"({"model_type": "qwen3"})"}, {"model.safetensors", safetensors_with({"a.weight"})}};
}

inline Result<ModelDirectory> open_files(const TestFiles& files) {
    std::vector<MemoryFile> list;
    for (const auto& [name, text] : files) list.push_back({name, std::as_bytes(std::span(text))});
    return ModelDirectory::from_files(std::move(list), "model");
}

// The sentence of the refusal; empty if the directory opened.
inline std::string directory_refusal(const TestFiles& files) {
    const auto opened = open_files(files);
    return opened ? std::string() : opened.error().message;
}

}  // namespace invar
