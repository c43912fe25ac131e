// Fuzzes the opening of a model directory. The input is cut into files; each begins with a byte that chooses its name
// and two bytes of length. If the directory opens, every tensor lies in its file and is found by name. Otherwise it is
// refused with one sentence. Seeds: fuzz/corpus/model_directory.
#include <array>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>

#include "base/json.h"
#include "files/model_directory.h"
#include "require.h"

namespace {

constexpr std::array<const char*, 12> kNames = {
    "config.json",
    "model.safetensors.index.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors",
    "hf_quant_config.json",
    "generation_config.json",
    "params.json",
    "consolidated.safetensors",
    "tokenizer.json",
    "model-00003-of-00003.safetensors",
    "pytorch_model.bin",
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace invar;
    std::vector<MemoryFile> files;
    std::set<std::string> used;
    const auto* bytes = reinterpret_cast<const std::byte*>(data);
    for (size_t at = 0; at + 3 <= size;) {
        const std::string name = kNames[data[at] % kNames.size()];
        const size_t length = std::min<size_t>(data[at + 1] | data[at + 2] << 8, size - at - 3);
        if (used.insert(name).second) files.push_back({name, {bytes + at + 3, length}});
        at += 3 + length;
    }
    const auto is_sentence = [](const std::string& message) {
        return message.starts_with("m") && message.find('\n') == std::string::npos && message.size() < 8000;
    };
    const auto opened = ModelDirectory::from_files(files, "m");
    if (!opened) {
        require(is_sentence(opened.error().message));
        return 0;
    }
    require(opened->config().is_object());
    uint64_t total = 0;
    for (const SafeTensor& tensor : opened->tensors()) {
        require(opened->find(tensor.name) == &tensor);
        require(static_cast<size_t>(tensor.file_index) < opened->file_names().size());
        require(tensor.data >= bytes && tensor.data + tensor.bytes <= bytes + size);
        total += tensor.bytes;
    }
    require(total == opened->tensor_bytes() && total <= size && opened->file_bytes() <= size);
    // A side file that nothing has read yet may be empty or a pointer. Only then is there no digest.
    const auto digest = opened->digest();
    require(digest.has_value() || is_sentence(digest.error().message));
    if (opened->has("tokenizer.json")) (void)opened->read_json("tokenizer.json", 1000);
    return 0;
}
