// Lays out a SafeTensors file: see safetensors_writer.h and the specification named in safetensors.h.
#include "files/safetensors_writer.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/atomic_file.h"
#include "base/check.h"
#include "files/printable.h"
#include "files/safetensors_stream.h"

namespace invar {
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

Result<std::string> SafeTensorsWriter::header() const {
    std::vector<SafeTensorsDeclaration> declarations;
    for (const Tensor* tensor : in_file_order()) declarations.push_back({tensor->name, tensor->dtype, tensor->shape});
    return safetensors_header(metadata_, declarations);
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
