// Fuzzes what a directory or a GGUF file says of its vectors. The first byte chooses the container. A directory's input
// is cut into its configs, each with two bytes of length in front; its dense layer has fixed weights. The config is
// read or refused with one sentence; if it is read, the sizes of its steps are known.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "embed/embedding_config.h"
#include "files/folder.h"
#include "require.h"

namespace {

using namespace invar;

constexpr int64_t kWidth = 4;
constexpr std::array<const char*, 6> kNames = {"modules.json",
                                               "1_Pooling/config.json",
                                               "2_Dense/config.json",
                                               "3_Normalize/config.json",
                                               "sentence_bert_config.json",
                                               "config_sentence_transformers.json"};

// A header of one tensor, F32 [2, 4] or of one byte, and its zeros.
std::string tensor_file(const std::string& entry, size_t bytes) {
    std::string file(8, '\0');
    file[0] = static_cast<char>(entry.size());
    return file + entry + std::string(bytes, '\0');
}

void read(const Checkpoint& checkpoint) {
    const auto config = read_embedding_config(checkpoint, kWidth);
    const auto is_sentence = [](const std::string& text) {
        return text.starts_with("m") && text.find('\n') == std::string::npos && text.size() < 8000;
    };
    if (!config) return require(is_sentence(config.error().message));
    const auto fits = check_embedding_sizes(*config, kWidth, "m");
    require(fits.has_value() || is_sentence(fits.error().message));
    require(vector_size(*config, kWidth) >= 0 && config->description().size() < 8000);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    const auto* bytes = reinterpret_cast<const std::byte*>(data);
    if (data[0] % 4 == 0) {
        if (const auto file = Checkpoint::from_bytes({bytes + 1, size - 1}, "m")) read(*file);
        return 0;
    }
    static const std::string weights = tensor_file(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1);
    static const std::string dense =
        tensor_file(R"({"linear.weight":{"dtype":"F32","shape":[2,4],"data_offsets":[0,32]}})", 32);
    static const std::string config = R"({"model_type": "bert"})";
    std::vector<MemoryFile> files = {{"config.json", std::as_bytes(std::span(config))},
                                     {"model.safetensors", std::as_bytes(std::span(weights))},
                                     {"2_Dense/model.safetensors", std::as_bytes(std::span(dense))}};
    size_t at = 1;
    for (const char* name : kNames) {
        if (at + 2 > size) break;
        const size_t length = std::min<size_t>(data[at] | data[at + 1] << 8, size - at - 2);
        if (length > 0) files.push_back({name, {bytes + at + 2, length}});
        at += 2 + length;
    }
    if (const auto directory = Checkpoint::from_files(std::move(files), "m")) read(*directory);
    return 0;
}
