// Writes the header first, from the declared tensors, and then appends their bytes: see safetensors_stream.h.
#include "files/safetensors_stream.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <iterator>

#include "base/check.h"
#include "base/json.h"
#include "files/name_index.h"
#include "files/printable.h"
#include "files/safetensors_header.h"

namespace invar {
namespace {

constexpr size_t kAlignment = 64;  // of the data: a cache line

// Appends a JSON string; bytes that are not UTF-8 become U+FFFD.
void append_json_text(std::string& to, std::string_view text) {
    const bool as_it_is =
        std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7F && c != '"' && c != '\\'; });
    if (as_it_is) {
        to.append(1, '"').append(text).append(1, '"');
    } else {
        to += Json(text).dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
    }
}

void append_number(std::string& to, uint64_t number) {
    char digits[24];
    to.append(std::begin(digits), std::to_chars(std::begin(digits), std::end(digits), number).ptr);
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
    NameIndex names;
    names.reserve(tensors.size());
    constexpr size_t kUsualEntry = 160;  // bytes
    text.reserve(kUsualEntry * tensors.size());
    text += '{';
    if (!metadata.empty()) {
        append_json_text(text, kSafeTensorsMetadata);
        text += ":{";
        for (const auto& [key, value] : metadata) {
            append_json_text(text, key);
            text += ':';
            append_json_text(text, value);
            text += ',';
        }
        text.back() = '}';
        text += ',';
    }
    uint64_t offset = 0;
    const auto name_at = [&](size_t i) -> std::string_view { return tensors[i].name; };
    for (size_t i = 0; i < tensors.size(); ++i) {
        const SafeTensorsDeclaration& tensor = tensors[i];
        if (names.add(i, name_at)) return fail("tensor '{}' is declared twice", printable(tensor.name));
        const uint64_t end = offset + tensor.bytes();
        append_json_text(text, tensor.name);
        text.append(R"(:{"dtype":")").append(dtype_name(tensor.dtype)).append(R"(","shape":[)");
        for (size_t axis = 0; axis < tensor.shape.size(); ++axis) {
            if (axis > 0) text += ',';
            append_number(text, static_cast<uint64_t>(tensor.shape[axis]));
        }
        text += R"(],"data_offsets":[)";
        append_number(text, offset);
        text += ',';
        append_number(text, end);
        text += "]},";
        offset = end;
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
