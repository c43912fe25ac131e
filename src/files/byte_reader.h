// A bounds-checked little-endian cursor over the bytes of a file. Every read either succeeds inside the span or returns
// one sentence that names the file, what was being read, and the two numbers that disagree. It knows no file format.
// No arithmetic here can overflow: lengths are compared with what remains, never added to an offset first.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/result.h"

namespace invar {

static_assert(std::endian::native == std::endian::little, "values are read by copying their bytes");

class ByteReader {
  public:
    // `file` is shown in errors. Both must outlive the reader.
    ByteReader(std::span<const std::byte> bytes, std::string_view file) : bytes_(bytes), file_(file) {}

    size_t offset() const { return offset_; }
    size_t remaining() const { return bytes_.size() - offset_; }

    // Sets the place in the file's structure that errors show, e.g. "metadata key 'general.name'".
    void set_place(std::string place) { place_ = std::move(place); }
    const std::string& place() const { return place_; }

    template <class T>
    Result<T> read(const char* what) {
        static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>);
        if (remaining() < sizeof(T)) [[unlikely]]
            return too_short(what, sizeof(T));
        T value;
        std::memcpy(&value, bytes_.data() + offset_, sizeof(T));
        offset_ += sizeof(T);
        return value;
    }

    Result<std::span<const std::byte>> take(uint64_t count, const char* what) {
        if (count > remaining()) [[unlikely]]
            return too_short(what, count);
        const auto taken = bytes_.subspan(offset_, static_cast<size_t>(count));
        offset_ += static_cast<size_t>(count);
        return taken;
    }

    // Takes `count` elements of `element_bytes` each; the product is never formed when it could overflow.
    Result<std::span<const std::byte>> take_array(uint64_t count, uint64_t element_bytes, const char* what) {
        if (count > remaining() / element_bytes) [[unlikely]]
            return too_many(what, count, element_bytes);
        return take(count * element_bytes, what);
    }

    // Reads a 64-bit length and then as many bytes.
    Result<std::string_view> read_string(const char* what) {
        TRY_ASSIGN(const uint64_t length, read<uint64_t>(what));
        TRY_ASSIGN(const auto text, take(length, what));
        return std::string_view(reinterpret_cast<const char*>(text.data()), text.size());
    }

    // The error for `count` things that need at least `element_bytes` each.
    tl::unexpected<Error> too_many(const char* what, uint64_t count, uint64_t element_bytes) const {
        return fail("{}: {}{} of {} entries of at least {} bytes cannot fit in the {} bytes left at offset {}; {}",
                    file_, prefix(), what, count, element_bytes, remaining(), offset_, kRemedy);
    }

  private:
    static constexpr std::string_view kRemedy = "the file is damaged or incomplete";

    tl::unexpected<Error> too_short(const char* what, uint64_t wanted) const {
        return fail("{}: {}{} needs {} bytes at offset {} but {} are left of {}; {}", file_, prefix(), what, wanted,
                    offset_, remaining(), bytes_.size(), kRemedy);
    }
    std::string prefix() const { return place_.empty() ? std::string() : place_ + ": "; }

    std::span<const std::byte> bytes_;
    std::string_view file_;
    std::string place_;
    size_t offset_ = 0;
};

}  // namespace invar
