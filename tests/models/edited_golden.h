// Reads the configs of golden directories and files (tests/data/goldens_hf), as they are or with keys changed.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "base/json.h"
#include "files/model_directory.h"
#include "models/architecture.h"

namespace invar {

inline const std::filesystem::path kFolder = std::filesystem::path(INVAR_TEST_DATA) / "goldens_hf";

inline Result<ModelConfig> config_at(const std::filesystem::path& path) {
    TRY_ASSIGN(const Checkpoint checkpoint, Checkpoint::open(path));
    TRY_ASSIGN(const Architecture* architecture, find_architecture(checkpoint));
    return architecture->read_config(checkpoint);
}

// Of a golden directory with some keys of its config.json changed, or removed by null.
inline Result<ModelConfig> config_with(const std::string& name, const char* changes) {
    const std::filesystem::path copy =
        std::filesystem::temp_directory_path() / ("invar_test_" + std::to_string(getpid()) + "_" + name);
    std::filesystem::remove_all(copy);
    std::filesystem::copy(kFolder / name, copy);
    TRY_ASSIGN(const Checkpoint original, Checkpoint::open(copy));
    Json config = original.directory()->config();
    config.merge_patch(Json::parse(changes));
    std::filesystem::remove(copy / "config.json");
    std::ofstream(copy / "config.json") << config;
    Result<ModelConfig> read = config_at(copy);
    std::filesystem::remove_all(copy);
    return read;
}

// The error of config_with() has this part.
inline void expect_error(const std::string& name, const char* changes, std::string_view part) {
    const auto config = config_with(name, changes);
    const std::string error = config ? "no error" : config.error().message;
    EXPECT_NE(error.find(part), std::string::npos) << name << " with " << changes << ": " << error;
}

}  // namespace invar
