// Layout of a GGUF version 3 file: see gguf_writer.h and the specification named in gguf_part.h.
#include "files/gguf_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.h"
#include "files/gguf_part.h"
#include "files/printable.h"

namespace invar {

namespace {

constexpr uint32_t kVersion = 3;
constexpr std::string_view kAlignmentKey = "general.alignment";

void append_to(std::vector<std::byte>& bytes, std::span<const std::byte> more) {
    const size_t size = bytes.size();
    bytes.resize(size + more.size());
    std::copy(more.begin(), more.end(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
}

template <class T>
void put(std::vector<std::byte>& bytes, T value) {
    append_to(bytes, std::as_bytes(std::span(&value, 1)));
}

void put(std::vector<std::byte>& bytes, std::string_view text) {
    put(bytes, static_cast<uint64_t>(text.size()));
    append_to(bytes, std::as_bytes(std::span(text)));
}

// What precedes the elements of an array.
std::vector<std::byte> array_head(MetadataType element, uint64_t count) {
    std::vector<std::byte> head;
    put(head, static_cast<uint32_t>(element));
    put(head, count);
    return head;
}

}  // namespace

GgufWriter::GgufWriter(uint32_t alignment) : alignment_(alignment) {
    CHECK(std::has_single_bit(alignment) && alignment <= kGgufMostAlignment, "alignments are powers of two");
    if (alignment != kGgufDefaultAlignment) add(kAlignmentKey, alignment);
}

void GgufWriter::add(std::string_view key, std::string_view text) {
    std::vector<std::byte> payload;
    put(payload, text);
    add_payload(key, MetadataType::string, std::move(payload));
}

void GgufWriter::add_array(std::string_view key, std::span<const std::string_view> texts) {
    std::vector<std::byte> payload = array_head(MetadataType::string, texts.size());
    size_t bytes = payload.size();
    for (const std::string_view text : texts) bytes += sizeof(uint64_t) + text.size();
    payload.reserve(bytes);
    for (const std::string_view text : texts) put(payload, text);
    add_payload(key, MetadataType::array, std::move(payload));
}

void GgufWriter::add_array_payload(std::string_view key, MetadataType element, uint64_t count,
                                   std::span<const std::byte> bytes) {
    std::vector<std::byte> payload = array_head(element, count);
    append_to(payload, bytes);
    add_payload(key, MetadataType::array, std::move(payload));
}

void GgufWriter::add_payload(std::string_view key, MetadataType type, std::vector<std::byte> payload) {
    CHECK(!key.empty() && key.size() <= kGgufMostKeyBytes &&
              std::all_of(key.begin(), key.end(), [](char c) { return c > ' ' && c < 0x7F; }),
          "our own reader would refuse the key");
    CHECK(file_ == std::nullopt, "the header is written already");
    const auto [place, fresh] = entry_index_.emplace(key, entries_.size());
    if (fresh) entries_.push_back({std::string(key), type, {}});
    Entry& entry = entries_[place->second];
    CHECK(key != kAlignmentKey || (type == MetadataType::u32 && std::memcmp(payload.data(), &alignment_, 4) == 0),
          "the alignment is the constructor's");
    entry.type = type;
    entry.payload = std::move(payload);
}

Result<void> GgufWriter::add_tensor(std::string_view name, const Format& format, std::span<const int64_t> shape) {
    CHECK(file_ == std::nullopt, "the header is written already");
    if (name.empty() || name.size() > kGgufMostTensorNameBytes || !is_utf8(name)) {
        return fail("tensor '{}' has a name of {} bytes; 1 to {} bytes of UTF-8 are possible", printable(name),
                    name.size(), kGgufMostTensorNameBytes);
    }
    if (shape.empty() || shape.size() > kGgufMostDimensions) {
        return fail("tensor '{}' has {} dimensions; 1 to {} are possible", printable(name), shape.size(),
                    kGgufMostDimensions);
    }
    int64_t weights = 1;
    for (const int64_t extent : shape) {
        if (extent < 1 || __builtin_mul_overflow(weights, extent, &weights)) {
            return fail("tensor '{}' cannot have the shape [{}]", printable(name), fmt::join(shape, ", "));
        }
    }
    if (!format.in_gguf()) {
        return fail("tensor '{}' is {}, a format of SafeTensors that GGUF files do not have; quantise it to another",
                    printable(name), format.name);
    }
    if (shape.back() % format.block_weights != 0) {
        return fail("tensor '{}' has rows of {} weights, not a multiple of the {} in a block of {}", printable(name),
                    shape.back(), format.block_weights, format.name);
    }
    int64_t bytes = 0;
    if (__builtin_mul_overflow(weights / format.block_weights, int64_t{format.block_bytes}, &bytes)) {
        return fail("tensor '{}' has {} weights, in {} more than 2^63 bytes", printable(name), weights, format.name);
    }
    if (!tensor_index_.emplace(name, tensors_.size()).second) {
        return fail("tensor '{}' is declared twice", printable(name));
    }
    tensors_.push_back({std::string(name), &format, {shape.begin(), shape.end()}, static_cast<uint64_t>(bytes)});
    return {};
}

uint64_t GgufWriter::header_bytes() const {
    constexpr uint64_t kNumber = sizeof(uint32_t), kLong = sizeof(uint64_t);
    uint64_t bytes = 2 * kNumber + 2 * kLong;
    for (const Entry& entry : entries_) bytes += kLong + entry.key.size() + kNumber + entry.payload.size();
    for (const Tensor& tensor : tensors_)
        bytes += kLong + tensor.name.size() + kNumber + tensor.shape.size() * kLong + kNumber + kLong;
    return padded(bytes);
}

std::vector<std::byte> GgufWriter::header() const {
    std::vector<std::byte> bytes;
    bytes.reserve(header_bytes());
    put(bytes, kGgufMagic);
    put(bytes, kVersion);
    put(bytes, static_cast<uint64_t>(tensors_.size()));
    put(bytes, static_cast<uint64_t>(entries_.size()));
    for (const Entry& entry : entries_) {
        put(bytes, std::string_view(entry.key));
        put(bytes, static_cast<uint32_t>(entry.type));
        append_to(bytes, entry.payload);
    }
    uint64_t offset = 0;
    for (const Tensor& tensor : tensors_) {
        put(bytes, std::string_view(tensor.name));
        put(bytes, static_cast<uint32_t>(tensor.shape.size()));
        for (size_t i = tensor.shape.size(); i-- > 0;) put(bytes, static_cast<uint64_t>(tensor.shape[i]));
        put(bytes, tensor.format->gguf_type);
        put(bytes, offset);
        offset += padded(tensor.bytes);
    }
    bytes.resize(padded(bytes.size()));
    CHECK(bytes.size() == header_bytes(), "both count the same entries");
    return bytes;
}

uint64_t GgufWriter::file_bytes() const {
    uint64_t total = header_bytes();
    for (const Tensor& tensor : tensors_) total += padded(tensor.bytes);
    return total;
}

Result<void> GgufWriter::begin(const std::filesystem::path& target) {
    CHECK(file_ == std::nullopt, "begin() is called once");
    TRY_ASSIGN(AtomicFile file, AtomicFile::create(target));
    file_ = std::move(file);
    return file_->write(header());
}

Result<void> GgufWriter::append(std::span<const std::byte> bytes) {
    CHECK(file_ != std::nullopt && tensor_ < tensors_.size(), "begin() first, and no more bytes than declared");
    const uint64_t whole = tensors_[tensor_].bytes;
    CHECK(bytes.size() <= whole - appended_, "a piece belongs to one tensor");
    TRY(file_->write(bytes));
    appended_ += bytes.size();
    if (appended_ < whole) return {};
    const std::vector<std::byte> padding(padded(whole) - whole);
    ++tensor_;
    appended_ = 0;
    return file_->write(padding);
}

Result<void> GgufWriter::finish() {
    CHECK(file_ != std::nullopt && tensor_ == tensors_.size(), "all declared tensors are appended first");
    return file_->commit();
}

}  // namespace invar
