// Compares what GgufFile and inspect() say with expected.json, written by tools/fixtures/gguf.py from what it put in.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "base/json.h"
#include "files/gguf.h"
#include "files/inspect.h"

namespace invar {

inline std::string hex(std::span<const std::byte> bytes) {
    std::string text;
    for (const std::byte each : bytes) text += fmt::format("{:02x}", std::to_integer<int>(each));
    return text;
}

// Metadata as rows of {"key", "type", "value"}, unabbreviated.
inline Json metadata_rows(const GgufFile& file) {
    Json rows = Json::array();
    const Json description = inspect(file, {.array_elements = UINT64_MAX, .text_bytes = UINT64_MAX});
    for (const Json& row : description["metadata"]) {
        rows.push_back({{"key", row["key"]}, {"type", row["type"]}, {"value", row["value"]}});
    }
    return rows;
}

// Returns how many values and tensor bytes were compared.
inline size_t expect_matches(const GgufFile& file, const Json& expected) {
    EXPECT_EQ(file.version(), expected["version"].get<uint32_t>());
    EXPECT_EQ(file.alignment(), expected["alignment"].get<uint32_t>());
    const Json metadata = metadata_rows(file);
    EXPECT_EQ(metadata.size(), expected["metadata"].size());
    for (size_t i = 0; i < std::min(metadata.size(), expected["metadata"].size()); ++i) {
        EXPECT_EQ(metadata[i].dump(), expected["metadata"][i].dump());
    }
    EXPECT_EQ(file.tensors().size(), expected["tensors"].size());
    size_t bytes = 0;
    for (size_t i = 0; i < std::min(file.tensors().size(), expected["tensors"].size()); ++i) {
        const TensorInfo& tensor = file.tensors()[i];
        const Json& row = expected["tensors"][i];
        EXPECT_EQ(tensor.name, row["name"].get<std::string>());
        EXPECT_EQ(tensor.format->name, row["format"].get<std::string>());
        EXPECT_EQ(Json(tensor.shape).dump(), row["shape"].dump()) << tensor.name;
        EXPECT_EQ(hex({tensor.data, tensor.bytes}), row["hex"].get<std::string>()) << tensor.name;
        EXPECT_EQ(file.find(tensor.name), &tensor);
        bytes += tensor.bytes;
    }
    return metadata.size() + bytes;
}

}  // namespace invar
