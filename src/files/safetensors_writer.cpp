// Layout of a SafeTensors file: see safetensors_writer.h and the specification named in safetensors.h.
#include "files/safetensors_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "base/atomic_file.h"
#include "base/check.h"
#include "base/json.h"
#include "files/printable.h"

namespace invar {
namespace {

constexpr size_t kAlignment = 64;  // of the data: a cache line
constexpr size_t kLengthBytes = 8;

// A JSON string; bytes that are not UTF-8 become U+FFFD.
std::string json_text(std::string_view text) {
    return Json(text).dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

}  // namespace

void SafeTensorsWriter::add_metadata(std::string_view key, std::string_view value) {
    metadata_.insert_or_assign(std::string(key), std::string(value));
}

Result<void> SafeTensorsWriter::add_tensor(std::string_view name, Dtype dtype, std::span<const int64_t> shape,
                                           std::span<const std::byte> data) {
    CHECK(dtype != Dtype::unknown, "what is written has a known size");
    if (name == kSafeTensorsMetadata || !is_utf8(name)) {
        return fail("tensor '{}' cannot have that name: it is reserved or not UTF-8", printable(name));
    }
    uint64_t bits = static_cast<uint64_t>(dtype_bits(dtype));
    for (const int64_t extent : shape) {
        if (extent < 0 || __builtin_mul_overflow(bits, static_cast<uint64_t>(extent), &bits)) {
            return fail("tensor '{}' cannot have the shape [{}]", printable(name), fmt::join(shape, ", "));
        }
    }
    if (bits % 8 != 0 || bits / 8 != data.size()) {
        return fail("tensor '{}' of shape [{}] in {} has {} bits, but {} bytes were given", printable(name),
                    fmt::join(shape, ", "), dtype_name(dtype), bits, data.size());
    }
    tensors_.push_back({std::string(name), dtype, {shape.begin(), shape.end()}, data});
    return {};
}

std::vector<const SafeTensorsWriter::Tensor*> SafeTensorsWriter::in_file_order() const {
    std::vector<const Tensor*> order;
    for (const Tensor& tensor : tensors_) order.push_back(&tensor);
    std::stable_sort(order.begin(), order.end(),
                     [](const Tensor* a, const Tensor* b) { return dtype_bits(a->dtype) > dtype_bits(b->dtype); });
    return order;
}

// Written by hand rather than as a tree: a tree looks every key up among the earlier ones.
Result<std::string> SafeTensorsWriter::header() const {
    std::string text(kLengthBytes, '\0');
    std::unordered_set<std::string_view> names;
    text += '{';
    if (!metadata_.empty()) {
        text += json_text(kSafeTensorsMetadata) + ":{";
        for (const auto& [key, value] : metadata_) text += fmt::format("{}:{},", json_text(key), json_text(value));
        text.back() = '}';
        text += ',';
    }
    uint64_t offset = 0;
    for (const Tensor* tensor : in_file_order()) {
        if (!names.insert(tensor->name).second) return fail("tensor '{}' is declared twice", printable(tensor->name));
        text +=
            fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}},)", json_text(tensor->name),
                        dtype_name(tensor->dtype), fmt::join(tensor->shape, ","), offset, offset + tensor->data.size());
        offset += tensor->data.size();
    }
    if (text.back() == ',') text.pop_back();
    text += '}';
    text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
    const uint64_t length = text.size() - kLengthBytes;
    if (length > kSafeTensorsMostHeaderBytes) {
        return fail("the header of {} tensors would have {} bytes, but the format allows {}; record fewer stages",
                    tensors_.size(), length, kSafeTensorsMostHeaderBytes);
    }
    std::memcpy(text.data(), &length, kLengthBytes);
    return text;
}

Result<void> SafeTensorsWriter::write(const std::filesystem::path& target) const {
    TRY_ASSIGN(const std::string head, header());
    TRY_ASSIGN(AtomicFile file, AtomicFile::create(target));
    TRY(file.write(std::as_bytes(std::span(head))));
    for (const Tensor* tensor : in_file_order()) TRY(file.write(tensor->data));
    return file.commit();
}

Result<std::vector<std::byte>> SafeTensorsWriter::bytes() const {
    TRY_ASSIGN(const std::string head, header());
    const auto head_bytes = std::as_bytes(std::span(head));
    std::vector<std::byte> all(head_bytes.begin(), head_bytes.end());
    for (const Tensor* tensor : in_file_order()) all.insert(all.end(), tensor->data.begin(), tensor->data.end());
    return all;
}

}  // namespace invar
