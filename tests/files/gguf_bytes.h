// Shared by the tests of src/files: GGUF bytes built by hand, valid or hostile, independently of the writer under test;
// a temporary folder; the check that a refusal is one sentence.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "files/gguf.h"

namespace invar {

inline void expect_one_sentence(const std::string& message, std::string_view file = "model.gguf: ") {
    EXPECT_TRUE(message.starts_with(file)) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_GT(message.size(), file.size());
}

// One sentence that contains all of `parts`.
inline void expect_all(const std::string& message, std::initializer_list<std::string_view> parts) {
    expect_one_sentence(message);
    for (const std::string_view part : parts) {
        EXPECT_NE(message.find(part), std::string::npos) << "'" << part << "' is not in: " << message;
    }
}

class TemporaryFolder {
  public:
    TemporaryFolder() {
        std::string pattern = (std::filesystem::temp_directory_path() / "invar_files_XXXXXX").string();
        EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
        path_ = pattern;
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    ~TemporaryFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    const std::filesystem::path& path() const { return path_; }
    std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

  private:
    std::filesystem::path path_;
};

inline std::string read_text(const std::filesystem::path& path) {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
}

inline void write_text(const std::filesystem::path& path, std::string_view text) {
    std::ofstream(path, std::ios::binary) << text;
}

class GgufBytes {
  public:
    template <class T>
    GgufBytes& put(T value) {
        const auto* begin = reinterpret_cast<const char*>(&value);
        text_.append(begin, sizeof(T));
        return *this;
    }
    GgufBytes& text(std::string_view value) {
        put<uint64_t>(value.size());
        text_ += value;
        return *this;
    }
    GgufBytes& raw(std::string_view value) {
        text_ += value;
        return *this;
    }
    // "GGUF", version, tensor count, metadata count.
    GgufBytes& start(uint64_t tensors, uint64_t entries, uint32_t version = 3) {
        return raw("GGUF").put<uint32_t>(version).put<uint64_t>(tensors).put<uint64_t>(entries);
    }
    GgufBytes& key(std::string_view name, MetadataType type) { return text(name).put(static_cast<uint32_t>(type)); }
    GgufBytes& array(MetadataType element, uint64_t count) {
        return put(static_cast<uint32_t>(element)).put<uint64_t>(count);
    }
    // `dimensions` as in the file: the contiguous one first.
    GgufBytes& tensor(std::string_view name, const std::vector<uint64_t>& dimensions, uint32_t type, uint64_t offset) {
        text(name).put<uint32_t>(static_cast<uint32_t>(dimensions.size()));
        for (const uint64_t extent : dimensions) put<uint64_t>(extent);
        return put<uint32_t>(type).put<uint64_t>(offset);
    }
    GgufBytes& pad(size_t alignment = 32) {
        text_.resize((text_.size() + alignment - 1) / alignment * alignment, '\0');
        return *this;
    }
    GgufBytes& data(size_t bytes) {
        text_.append(bytes, '\x11');
        return *this;
    }

    std::span<const std::byte> bytes() const { return std::as_bytes(std::span(text_)); }
    const std::string& string() const { return text_; }
    Result<GgufFile> open() const { return GgufFile::from_bytes(bytes(), "model.gguf"); }
    // The sentence of the refusal; empty if the file opened.
    std::string refusal() const {
        const auto file = open();
        return file ? std::string() : file.error().message;
    }

  private:
    std::string text_;
};

}  // namespace invar
