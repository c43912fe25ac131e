// The key-value part of a GGUF file: ordered, typed, and viewed in place (strings are views into the file's bytes, so a
// vocabulary of 150,000 tokens is not copied). It decides how a stored type may be read as another one. It does not
// know which keys a model needs (models/), and it trusts that gguf.cpp has checked every length.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"

namespace invar {

// Numbers as in the GGUF specification.
enum class MetadataType : uint32_t {
    u8 = 0,
    i8 = 1,
    u16 = 2,
    i16 = 3,
    u32 = 4,
    i32 = 5,
    f32 = 6,
    boolean = 7,
    string = 8,
    array = 9,
    u64 = 10,
    i64 = 11,
    f64 = 12,
};
inline constexpr uint32_t kMetadataTypeCount = 13;

std::string_view name_of(MetadataType type);
// Bytes per value; 0 for strings and arrays, whose size is in the file.
int bytes_of(MetadataType type);
bool is_integer(MetadataType type);

// One value: its type and its bytes in the file (for an array: element type, count, elements). It is a view, cheap to
// copy, and valid as long as the file. The as_...() functions return nothing if the stored value is not exactly one of
// the wanted kind.
class MetadataValue {
  public:
    // `payload` was checked before: it is exactly one value of this type.
    MetadataValue(MetadataType type, std::span<const std::byte> payload) : type_(type), payload_(payload) {}

    MetadataType type() const { return type_; }
    std::span<const std::byte> payload() const { return payload_; }

    // Accepts any stored integer type if the value fits.
    std::optional<uint64_t> as_u64() const;
    std::optional<int64_t> as_i64() const;
    // Accepts f32, f64, and integers that a binary64 holds exactly.
    std::optional<double> as_f64() const;
    std::optional<bool> as_bool() const;
    std::optional<std::string_view> as_string() const;

    bool is_array() const { return type_ == MetadataType::array; }
    // For arrays only.
    MetadataType element_type() const;
    uint64_t size() const;
    // Calls visit(MetadataValue) for the elements in order, at most `most` of them. Visits nothing if the value is not
    // an array.
    template <class Visit>
    void for_each(Visit&& visit, uint64_t most = UINT64_MAX) const;
    std::vector<MetadataValue> elements(uint64_t most = UINT64_MAX) const;

    // Names the type for messages: "u32", "array of string".
    std::string type_name() const;

  private:
    // Bytes of the value of type `type` that starts at `bytes`.
    static size_t extent(MetadataType type, std::span<const std::byte> bytes);

    MetadataType type_;
    std::span<const std::byte> payload_;
};

struct MetadataEntry {
    std::string_view key;
    MetadataValue value;
};

class Metadata {
  public:
    explicit Metadata(std::string file) : file_(std::move(file)) {}

    // Returns false and changes nothing if the key is there already.
    bool add(std::string_view key, MetadataValue value);

    std::span<const MetadataEntry> entries() const { return entries_; }  // in the order of the file
    const MetadataValue* find(std::string_view key) const;
    bool has(std::string_view key) const { return find(key) != nullptr; }

    // Typed reading. Every error names the file, the key, the stored type and the wanted one. A missing key is an error
    // (ask has() first if a key is optional). Any stored integer type that fits counts as an integer, and integers that
    // a binary64 (or binary32 in numbers()) holds exactly count as numbers.
    Result<uint64_t> integer(std::string_view key) const;
    Result<int64_t> signed_integer(std::string_view key) const;
    Result<double> number(std::string_view key) const;
    Result<bool> boolean(std::string_view key) const;
    Result<std::string_view> string(std::string_view key) const;  // bytes as stored: UTF-8 is not checked
    Result<std::vector<std::string_view>> strings(std::string_view key) const;
    Result<std::vector<int64_t>> integers(std::string_view key) const;
    Result<std::vector<float>> numbers(std::string_view key) const;  // f32 as stored, f64 rounded once
    Result<std::vector<bool>> booleans(std::string_view key) const;

    const std::string& file() const { return file_; }

  private:
    Result<MetadataValue> require(std::string_view key, const char* wanted) const;
    Result<MetadataValue> require_array(std::string_view key, const char* wanted) const;
    tl::unexpected<Error> wrong(std::string_view key, const MetadataValue& value, const char* wanted) const;

    std::string file_;
    std::vector<MetadataEntry> entries_;
    std::unordered_map<std::string_view, size_t> index_;
};

template <class Visit>
void MetadataValue::for_each(Visit&& visit, uint64_t most) const {
    if (!is_array()) return;
    constexpr size_t kArrayHeader = 12;  // u32 element type, u64 count
    const MetadataType type = element_type();
    const uint64_t count = size() < most ? size() : most;
    std::span<const std::byte> rest = payload_.subspan(kArrayHeader);
    for (uint64_t i = 0; i < count; ++i) {
        const size_t bytes = extent(type, rest);
        visit(MetadataValue(type, rest.first(bytes)));
        rest = rest.subspan(bytes);
    }
}

}  // namespace invar
