// Writes the header first, from the declared tensors, and then appends their bytes: see safetensors_stream.h.
#include "files/safetensors_stream.h"

#include <fmt/format.h>

#include <cstring>
#include <unordered_set>

#include "base/check.h"
#include "base/json.h"
#include "files/printable.h"
#include "files/safetensors_header.h"

namespace invar {
namespace {

constexpr size_t kAlignment = 64;  // of the data: a cache line

// Makes a JSON string; bytes that are not UTF-8 become U+FFFD.
std::string json_text(std::string_view text) {
    return Json(text).dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

}  // namespace

uint64_t SafeTensorsDeclaration::bytes() const {
    uint64_t bits = static_cast<uint64_t>(dtype_bits(dtype));
    for (const int64_t extent : shape) bits *= static_cast<uint64_t>(extent);
    return bits / 8;
}

// The header is written by hand, because a JSON tree looks up every key among the earlier ones.
Result<std::string> safetensors_header(const std::map<std::string, std::string>& metadata,
                                       std::span<const SafeTensorsDeclaration> tensors) {
    std::string text(kHeaderLengthBytes, '\0');
    std::unordered_set<std::string_view> names;
    text += '{';
    if (!metadata.empty()) {
        text += json_text(kSafeTensorsMetadata) + ":{";
        for (const auto& [key, value] : metadata) text += fmt::format("{}:{},", json_text(key), json_text(value));
        text.back() = '}';
        text += ',';
    }
    uint64_t offset = 0;
    for (const SafeTensorsDeclaration& tensor : tensors) {
        if (!names.insert(tensor.name).second) return fail("tensor '{}' is declared twice", printable(tensor.name));
        text += fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}},)", json_text(tensor.name),
                            dtype_name(tensor.dtype), fmt::join(tensor.shape, ","), offset, offset + tensor.bytes());
        offset += tensor.bytes();
    }
    if (text.back() == ',') text.pop_back();
    text += '}';
    text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
    const uint64_t length = text.size() - kHeaderLengthBytes;
    if (length > kSafeTensorsMostHeaderBytes) {
        return fail("the header of {} tensors would have {} bytes, but the format allows {}; record fewer stages",
                    tensors.size(), length, kSafeTensorsMostHeaderBytes);
    }
    std::memcpy(text.data(), &length, kHeaderLengthBytes);
    return text;
}

Result<SafeTensorsStream> SafeTensorsStream::create(const std::filesystem::path& target,
                                                    const std::map<std::string, std::string>& metadata,
                                                    std::span<const SafeTensorsDeclaration> tensors) {
    TRY_ASSIGN(const std::string head, safetensors_header(metadata, tensors));
    uint64_t bytes = head.size();
    for (const SafeTensorsDeclaration& tensor : tensors) bytes += tensor.bytes();
    TRY_ASSIGN(AtomicFile file, AtomicFile::create(target));
    SafeTensorsStream stream(std::move(file), bytes);
    TRY(stream.append(std::as_bytes(std::span(head))));
    return stream;
}

Result<void> SafeTensorsStream::finish() {
    CHECK(file_.size() == file_bytes_, "every declared tensor was appended");
    return file_.commit();
}

}  // namespace invar
