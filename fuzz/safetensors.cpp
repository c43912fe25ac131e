// Fuzzes the SafeTensors reader. A file opens or fails with one sentence, and the tensors of an opened file tile its
// data exactly. An opened file is written again and must be read back the same. Seeds: fuzz/corpus/safetensors.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "files/safetensors.h"
#include "files/safetensors_writer.h"
#include "require.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace invar;
    const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
    const auto file = SafeTensorsFile::from_bytes(bytes, "input.safetensors");
    if (!file) {
        const std::string& message = file.error().message;
        require(message.starts_with("input.safetensors: ") && message.find('\n') == std::string::npos &&
                message.size() < 2000);
        return 0;
    }
    SafeTensorsWriter writer;
    uint64_t total = 0;
    bool all_known = true;
    for (const SafeTensor& tensor : file->tensors()) {
        require(tensor.data >= bytes.data() && tensor.bytes <= size && tensor.file_offset + tensor.bytes <= size);
        require(tensor.data == bytes.data() + tensor.file_offset && file->find(tensor.name) == &tensor);
        total += tensor.bytes;
        all_known = all_known && tensor.dtype != Dtype::unknown;
        if (tensor.dtype == Dtype::unknown) continue;
        require(static_cast<uint64_t>(tensor.elements()) * static_cast<uint64_t>(dtype_bits(tensor.dtype)) ==
                tensor.bytes * 8);
        require(writer.add_tensor(tensor.name, tensor.dtype, tensor.shape, {tensor.data, tensor.bytes}).has_value());
    }
    require(total <= size && (file->tensors().empty() || file->tensors()[0].file_offset + total == size));
    for (const auto& [key, value] : file->metadata()) {
        require(file->find_metadata(key) == value);
        writer.add_metadata(key, value);
    }
    const auto again = writer.bytes();
    require(again.has_value());
    const auto copy = SafeTensorsFile::from_bytes(*again, "copy");
    require(copy.has_value() && copy->metadata().size() == file->metadata().size());
    if (!all_known) return 0;
    require(copy->tensors().size() == file->tensors().size());
    for (const SafeTensor& tensor : file->tensors()) {
        const SafeTensor* twin = copy->find(tensor.name);
        require(twin != nullptr && twin->dtype == tensor.dtype && twin->shape == tensor.shape &&
                twin->bytes == tensor.bytes);
        require(tensor.bytes == 0 || std::memcmp(twin->data, tensor.data, tensor.bytes) == 0);
    }
    return 0;
}
