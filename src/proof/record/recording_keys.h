// The reserved names in a recording's file, shared by its writer and its reader. recording_file.h explains them.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace invar::recording_keys {

inline constexpr std::string_view kVersionKey = "recording", kVersion = "1", kTokens = "tokens", kStages = "stages";
inline constexpr std::string_view kPositions = "positions:", kElements = "elements:";
inline constexpr std::string_view kStatistics = "statistics:", kHash = "hash:";
inline constexpr int64_t kFigures = 5;  // how many figures a statistics tensor has per position
inline constexpr size_t kHashBytes = 16;
inline constexpr std::string_view kHashPrefix = "xxh3:";

// Whether a metadata key is reserved, that is, not one of Recording::metadata.
inline bool is_reserved(std::string_view key) {
    constexpr std::array kWhole = {kVersionKey, kTokens, kStages};
    return std::find(kWhole.begin(), kWhole.end(), key) != kWhole.end() || key.starts_with(kPositions) ||
           key.starts_with(kElements);
}

}  // namespace invar::recording_keys
