// Fuzzes the GGUF header parser, every accessor of an accepted file, and its description. A file opens or fails with
// one sentence, and every tensor of an opened file lies inside it. Seeds: fuzz/corpus/gguf.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/json.h"
#include "files/gguf.h"
#include "files/inspect.h"
#include "require.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace invar;
    const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
    const auto file = GgufFile::from_bytes(bytes, "input.gguf");
    if (!file) {
        const std::string& message = file.error().message;
        require(message.starts_with("input.gguf: ") && message.find('\n') == std::string::npos &&
                message.size() < 2000);
        return 0;
    }
    unsigned sum = 0;  // reads the first and the last byte of every tensor
    for (const TensorInfo& tensor : file->tensors()) {
        require(tensor.data >= bytes.data() && tensor.bytes <= size);
        require(tensor.file_offset + tensor.bytes <= size && tensor.bytes >= 1);
        require(tensor.bytes == tensor.row_bytes() * static_cast<uint64_t>(tensor.rows()));
        require(file->find(tensor.name) == &tensor);
        sum += std::to_integer<unsigned>(tensor.data[0]) + std::to_integer<unsigned>(tensor.data[tensor.bytes - 1]);
    }
    for (const MetadataEntry& entry : file->metadata().entries()) {
        const Metadata& metadata = file->metadata();
        require(metadata.find(entry.key) != nullptr);
        const int readings = metadata.signed_integer(entry.key).has_value() + metadata.string(entry.key).has_value() +
                             metadata.boolean(entry.key).has_value() + metadata.strings(entry.key).has_value() +
                             metadata.integers(entry.key).has_value() + metadata.booleans(entry.key).has_value();
        // An empty array also has a type, so at most one of these matches.
        require(readings <= 1);
        sum += metadata.numbers(entry.key).has_value() + metadata.number(entry.key).has_value() +
               metadata.integer(entry.key).has_value();
    }
    volatile size_t sink = inspect(*file).dump().size() + sum;  // dump() throws on text that is not UTF-8
    (void)sink;
    return 0;
}
