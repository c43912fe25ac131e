// Reads the configs of golden GGUF files (tests/data/goldens_hf) with a key added or taken away.
#pragma once

#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "models/edited_golden.h"

namespace invar {

inline std::string little_endian(uint64_t number, int bytes) {
    std::string text;
    for (int i = 0; i < bytes; ++i) text.push_back(static_cast<char>(number >> (8 * i)));
    return text;
}

// The type and the bytes of a value.
inline std::string gguf_value(uint32_t value) { return little_endian(4, 4) + little_endian(value, 4); }
inline std::string gguf_value(float value) {
    uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    return little_endian(6, 4) + little_endian(bits, 4);
}
inline std::string gguf_value(bool value) { return little_endian(7, 4) + little_endian(value ? 1 : 0, 1); }
inline std::string gguf_value(std::string_view value) {
    return little_endian(8, 4) + little_endian(value.size(), 8) + std::string(value);
}

inline std::string gguf_pair(std::string_view key, const std::string& value) {
    return little_endian(key.size(), 8) + std::string(key) + value;
}

inline std::string gguf_bytes(const std::string& name) {
    std::ifstream file(kFolder / (name + ".gguf"), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

inline Result<ModelConfig> config_of_bytes(const std::string& bytes, const std::string& name) {
    TRY_ASSIGN(const Checkpoint checkpoint, Checkpoint::from_bytes(std::as_bytes(std::span(bytes)), name));
    TRY_ASSIGN(const Architecture* architecture, find_architecture(checkpoint));
    return architecture->read_config(checkpoint);
}

// Of the file with one more key. The header grows by a multiple of the alignment, which leaves the data in its place.
inline Result<ModelConfig> config_with_key(const std::string& name, std::string_view key, const std::string& value) {
    std::string bytes = gguf_bytes(name);
    std::string pairs = gguf_pair(key, value);
    const size_t with_filler = (pairs + gguf_pair("general.filler", gguf_value(std::string_view()))).size();
    pairs += gguf_pair("general.filler", gguf_value(std::string_view(std::string((32 - with_filler % 32) % 32, ' '))));
    bytes[16] = static_cast<char>(bytes[16] + 2);  // the number of keys, which is far from 256
    bytes.insert(24, pairs);
    return config_of_bytes(bytes, name);
}

// Of the file in which a key has another name that nobody knows.
inline Result<ModelConfig> config_without_key(const std::string& name, std::string_view key) {
    std::string bytes = gguf_bytes(name);
    const size_t at = bytes.find(little_endian(key.size(), 8) + std::string(key));
    if (at == std::string::npos) return fail("{} has no key {}", name, key);
    bytes[at + 8 + key.size() - 1] = '_';
    return config_of_bytes(bytes, name);
}

}  // namespace invar
