// Writes a GGUF version 3 file: metadata in the order given, then the tensors' bytes, streamed in the order declared,
// so that a model larger than memory can be written. The file appears whole at finish() or not at all
// (base/atomic_file.h). It decides layout only; the caller (make/quantize.h) chooses tensors and formats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "base/atomic_file.h"
#include "base/result.h"
#include "files/gguf.h"
#include "files/metadata.h"

namespace invar {

// The stored type of a C++ type: metadata_type_of<uint32_t>() is MetadataType::u32.
template <class T>
constexpr MetadataType metadata_type_of() {
    if constexpr (std::is_same_v<T, bool>) return MetadataType::boolean;
    if constexpr (std::is_same_v<T, float>) return MetadataType::f32;
    if constexpr (std::is_same_v<T, double>) return MetadataType::f64;
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
        constexpr bool kSigned = std::is_signed_v<T>;
        if constexpr (sizeof(T) == 1) return kSigned ? MetadataType::i8 : MetadataType::u8;
        if constexpr (sizeof(T) == 2) return kSigned ? MetadataType::i16 : MetadataType::u16;
        if constexpr (sizeof(T) == 4) return kSigned ? MetadataType::i32 : MetadataType::u32;
        if constexpr (sizeof(T) == 8) return kSigned ? MetadataType::i64 : MetadataType::u64;
    }
}

class GgufWriter {
  public:
    // `alignment` is a power of two up to kGgufMostAlignment; any but the default is written as general.alignment.
    explicit GgufWriter(uint32_t alignment = kGgufDefaultAlignment);

    // Adds metadata. A key that is there already keeps its place and gets the new value. Keys are printable ASCII.
    // The C++ type gives the stored type: add("llama.block_count", uint32_t{32}).
    template <class T>
    requires std::is_arithmetic_v<T>
    void add(std::string_view key, T value) {
        const auto bytes = std::as_bytes(std::span(&value, 1));
        add_payload(key, metadata_type_of<T>(), {bytes.begin(), bytes.end()});
    }
    void add(std::string_view key, std::string_view text);
    void add(std::string_view key, const char* text) { add(key, std::string_view(text)); }
    void add(std::string_view key, const MetadataValue& value) {
        add_payload(key, value.type(), {value.payload().begin(), value.payload().end()});
    }
    template <class T>
    requires(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) void add_array(std::string_view key,
                                                                                 std::span<const T> values) {
        add_array_payload(key, metadata_type_of<T>(), values.size(), std::as_bytes(values));
    }
    void add_array(std::string_view key, std::span<const std::string_view> texts);
    void add_booleans(std::string_view key, std::span<const uint8_t> values) {  // 0 or 1
        add_array_payload(key, MetadataType::boolean, values.size(), std::as_bytes(values));
    }

    // Declares the next tensor; `shape` is outermost first. Errors name the tensor: a duplicate or empty name, a shape
    // that is not 1 to 4 positive dimensions, rows that are no multiple of the format's block.
    Result<void> add_tensor(std::string_view name, const Format& format, std::span<const int64_t> shape);

    // Returns everything before the first tensor byte, padding included.
    std::vector<std::byte> header() const;

    // Call begin(), then append() for the bytes of all tensors in declared order (in pieces of any size that do not
    // reach across tensors; padding is added here), then finish(). Without finish() no file appears.
    Result<void> begin(const std::filesystem::path& target);
    Result<void> append(std::span<const std::byte> bytes);
    Result<void> finish();

    uint64_t file_bytes() const;  // of the finished file

  private:
    struct Entry {
        std::string key;
        MetadataType type;
        std::vector<std::byte> payload;
    };
    struct Tensor {
        std::string name;
        const Format* format;
        std::vector<int64_t> shape;
        uint64_t bytes;
    };

    void add_payload(std::string_view key, MetadataType type, std::vector<std::byte> payload);
    void add_array_payload(std::string_view key, MetadataType element, uint64_t count,
                           std::span<const std::byte> bytes);
    uint64_t header_bytes() const;
    uint64_t padded(uint64_t bytes) const { return (bytes + alignment_ - 1) / alignment_ * alignment_; }

    uint32_t alignment_;
    std::vector<Entry> entries_;
    std::unordered_map<std::string, size_t> entry_index_;
    std::vector<Tensor> tensors_;
    std::unordered_map<std::string, size_t> tensor_index_;
    std::optional<AtomicFile> file_;
    size_t tensor_ = 0;      // being appended
    uint64_t appended_ = 0;  // bytes of it so far
};

}  // namespace invar
