// Converts stored metadata to the types that callers need: see metadata.h. All sizes were checked when the file was
// opened (gguf.cpp), so the views below stay inside the payload.
#include "files/metadata.h"

#include <array>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "files/printable.h"

namespace invar {

namespace {

struct TypeRow {
    std::string_view name;
    int bytes;
    bool integer;
};
constexpr std::array<TypeRow, kMetadataTypeCount> kTypes{{
    {"u8", 1, true},
    {"i8", 1, true},
    {"u16", 2, true},
    {"i16", 2, true},
    {"u32", 4, true},
    {"i32", 4, true},
    {"f32", 4, false},
    {"bool", 1, false},
    {"string", 0, false},
    {"array", 0, false},
    {"u64", 8, true},
    {"i64", 8, true},
    {"f64", 8, false},
}};

template <class T>
T load(std::span<const std::byte> bytes) {
    T value;
    std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
}

// An integer of any stored type: `low` is its two's complement, `negative` its sign.
struct WideInteger {
    uint64_t low;
    bool negative;
};

template <class T>
WideInteger widen(std::span<const std::byte> bytes) {
    const T value = load<T>(bytes);
    return {static_cast<uint64_t>(static_cast<int64_t>(value)), std::is_signed_v<T> && value < T{0}};
}

std::optional<WideInteger> wide_integer(MetadataType type, std::span<const std::byte> bytes) {
    switch (type) {
        case MetadataType::u8:
            return widen<uint8_t>(bytes);
        case MetadataType::i8:
            return widen<int8_t>(bytes);
        case MetadataType::u16:
            return widen<uint16_t>(bytes);
        case MetadataType::i16:
            return widen<int16_t>(bytes);
        case MetadataType::u32:
            return widen<uint32_t>(bytes);
        case MetadataType::i32:
            return widen<int32_t>(bytes);
        case MetadataType::u64:
            return widen<uint64_t>(bytes);
        case MetadataType::i64:
            return widen<int64_t>(bytes);
        default:
            return std::nullopt;
    }
}

}  // namespace

std::string_view name_of(MetadataType type) { return kTypes[static_cast<size_t>(type)].name; }
int bytes_of(MetadataType type) { return kTypes[static_cast<size_t>(type)].bytes; }
bool is_integer(MetadataType type) { return kTypes[static_cast<size_t>(type)].integer; }

std::optional<uint64_t> MetadataValue::as_u64() const {
    const auto wide = wide_integer(type_, payload_);
    if (!wide || wide->negative) return std::nullopt;
    return wide->low;
}

std::optional<int64_t> MetadataValue::as_i64() const {
    const auto wide = wide_integer(type_, payload_);
    if (!wide || (!wide->negative && wide->low > static_cast<uint64_t>(INT64_MAX))) return std::nullopt;
    return static_cast<int64_t>(wide->low);
}

std::optional<double> MetadataValue::as_f64() const {
    if (type_ == MetadataType::f32) return static_cast<double>(load<float>(payload_));
    if (type_ == MetadataType::f64) return load<double>(payload_);
    const auto integer = as_i64();
    if (!integer || *integer > (int64_t{1} << 53) || *integer < -(int64_t{1} << 53)) return std::nullopt;
    return static_cast<double>(*integer);
}

std::optional<bool> MetadataValue::as_bool() const {
    if (type_ != MetadataType::boolean) return std::nullopt;
    return load<uint8_t>(payload_) != 0;
}

std::optional<std::string_view> MetadataValue::as_string() const {
    if (type_ != MetadataType::string) return std::nullopt;
    const auto text = payload_.subspan(sizeof(uint64_t));
    return std::string_view(reinterpret_cast<const char*>(text.data()), text.size());
}

MetadataType MetadataValue::element_type() const {
    CHECK(is_array(), "only arrays have elements");
    return static_cast<MetadataType>(load<uint32_t>(payload_));
}

uint64_t MetadataValue::size() const {
    CHECK(is_array(), "only arrays have elements");
    return load<uint64_t>(payload_.subspan(sizeof(uint32_t)));
}

std::vector<MetadataValue> MetadataValue::elements(uint64_t most) const {
    std::vector<MetadataValue> values;
    for_each([&](const MetadataValue& value) { values.push_back(value); }, most);
    return values;
}

std::string MetadataValue::type_name() const {
    if (!is_array()) return std::string(name_of(type_));
    return fmt::format("array of {}", name_of(element_type()));
}

size_t MetadataValue::extent(MetadataType type, std::span<const std::byte> bytes) {
    constexpr size_t kCount = sizeof(uint64_t);
    if (type == MetadataType::string) return kCount + load<uint64_t>(bytes);
    if (type != MetadataType::array) return static_cast<size_t>(bytes_of(type));
    constexpr size_t kHeader = sizeof(uint32_t) + kCount;
    const auto element = static_cast<MetadataType>(load<uint32_t>(bytes));
    const uint64_t count = load<uint64_t>(bytes.subspan(sizeof(uint32_t)));
    if (bytes_of(element) > 0) return kHeader + count * static_cast<size_t>(bytes_of(element));
    size_t total = kHeader;
    for (uint64_t i = 0; i < count; ++i) total += extent(element, bytes.subspan(total));
    return total;
}

bool Metadata::add(std::string_view key, MetadataValue value) {
    if (!index_.emplace(key, entries_.size()).second) return false;
    entries_.push_back({key, value});
    return true;
}

const MetadataValue* Metadata::find(std::string_view key) const {
    const auto found = index_.find(key);
    return found == index_.end() ? nullptr : &entries_[found->second].value;
}

Result<MetadataValue> Metadata::require(std::string_view key, const char* wanted) const {
    const MetadataValue* value = find(key);
    if (value == nullptr) return fail("{}: metadata key '{}' ({}) is missing", file_, printable(key), wanted);
    return *value;
}

Result<MetadataValue> Metadata::require_array(std::string_view key, const char* wanted) const {
    TRY_ASSIGN(const MetadataValue value, require(key, wanted));
    if (!value.is_array()) return wrong(key, value, wanted);
    return value;
}

tl::unexpected<Error> Metadata::wrong(std::string_view key, const MetadataValue& value, const char* wanted) const {
    return fail("{}: metadata key '{}' is of type {}, but {} is wanted", file_, printable(key), value.type_name(),
                wanted);
}

Result<uint64_t> Metadata::integer(std::string_view key) const {
    constexpr const char* kWanted = "a non-negative integer";
    TRY_ASSIGN(const MetadataValue value, require(key, kWanted));
    const auto integer = value.as_u64();
    if (integer) return *integer;
    if (const auto negative = value.as_i64()) {
        return fail("{}: metadata key '{}' is {}, but {} is wanted", file_, printable(key), *negative, kWanted);
    }
    return wrong(key, value, kWanted);
}

Result<int64_t> Metadata::signed_integer(std::string_view key) const {
    constexpr const char* kWanted = "an integer below 2^63";
    TRY_ASSIGN(const MetadataValue value, require(key, kWanted));
    const auto integer = value.as_i64();
    if (!integer) return wrong(key, value, kWanted);
    return *integer;
}

Result<double> Metadata::number(std::string_view key) const {
    constexpr const char* kWanted = "a number";
    TRY_ASSIGN(const MetadataValue value, require(key, kWanted));
    const auto number = value.as_f64();
    if (!number) return wrong(key, value, kWanted);
    return *number;
}

Result<bool> Metadata::boolean(std::string_view key) const {
    constexpr const char* kWanted = "a bool";
    TRY_ASSIGN(const MetadataValue value, require(key, kWanted));
    const auto boolean = value.as_bool();
    if (!boolean) return wrong(key, value, kWanted);
    return *boolean;
}

Result<std::string_view> Metadata::string(std::string_view key) const {
    constexpr const char* kWanted = "a string";
    TRY_ASSIGN(const MetadataValue value, require(key, kWanted));
    const auto text = value.as_string();
    if (!text) return wrong(key, value, kWanted);
    return *text;
}

Result<std::vector<std::string_view>> Metadata::strings(std::string_view key) const {
    constexpr const char* kWanted = "array of string";
    TRY_ASSIGN(const MetadataValue value, require_array(key, kWanted));
    if (value.element_type() != MetadataType::string) return wrong(key, value, kWanted);
    std::vector<std::string_view> texts;
    texts.reserve(value.size());
    value.for_each([&](const MetadataValue& element) { texts.push_back(*element.as_string()); });
    return texts;
}

Result<std::vector<int64_t>> Metadata::integers(std::string_view key) const {
    constexpr const char* kWanted = "array of integers below 2^63";
    TRY_ASSIGN(const MetadataValue value, require_array(key, kWanted));
    if (!is_integer(value.element_type())) return wrong(key, value, kWanted);
    std::vector<int64_t> integers;
    integers.reserve(value.size());
    value.for_each([&](const MetadataValue& element) {
        if (const auto integer = element.as_i64()) integers.push_back(*integer);
    });
    if (integers.size() != value.size()) return wrong(key, value, kWanted);
    return integers;
}

Result<std::vector<float>> Metadata::numbers(std::string_view key) const {
    constexpr const char* kWanted = "array of numbers";
    TRY_ASSIGN(const MetadataValue value, require_array(key, kWanted));
    const bool stored_as_float = value.element_type() == MetadataType::f32 || value.element_type() == MetadataType::f64;
    std::vector<float> numbers;
    if (!stored_as_float && !is_integer(value.element_type())) return wrong(key, value, kWanted);
    numbers.reserve(value.size());
    value.for_each([&](const MetadataValue& element) {
        const auto number = element.as_f64();
        if (!number) return;
        const auto rounded = static_cast<float>(*number);
        if (stored_as_float || static_cast<double>(rounded) == *number) numbers.push_back(rounded);
    });
    if (numbers.size() != value.size()) return wrong(key, value, "array of numbers that binary32 holds exactly");
    return numbers;
}

Result<std::vector<bool>> Metadata::booleans(std::string_view key) const {
    constexpr const char* kWanted = "array of bool";
    TRY_ASSIGN(const MetadataValue value, require_array(key, kWanted));
    if (value.element_type() != MetadataType::boolean) return wrong(key, value, kWanted);
    std::vector<bool> booleans;
    booleans.reserve(value.size());
    value.for_each([&](const MetadataValue& element) { booleans.push_back(*element.as_bool()); });
    return booleans;
}

}  // namespace invar
