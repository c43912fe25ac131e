// Any bytes as the tokenizer of a directory that becomes a GGUF file: tokenizer.json, sentencepiece's tokenizer.model,
// tokenizer_config.json or added_tokens.json. Writing ends in one sentence, or in a file that opens again with a token
// for each row. Input: one byte that says which file, then the file.
#include <cstdint>
#include <string>

#include "files/gguf.h"
#include "files/gguf_writer.h"
#include "files/model_directory.h"
#include "make/gguf_vocabulary.h"
#include "require.h"

namespace {

using namespace invar;

constexpr int64_t kRows = 300;
constexpr std::string_view kConfig = R"({"model_type": "llama", "bos_token_id": 1, "eos_token_id": 2})";
constexpr std::string_view kTokenizer =
    R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},)"
    R"( "pre_tokenizer": {"type": "ByteLevel", "use_regex": true}})";
// A weight "a" of four bytes.
constexpr std::string_view kWeights(
    "\x38\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}   \1\2\3\4", 8 + 0x38 + 4);
// sentencepiece's BPE with two pieces, which keeps spaces as they are.
constexpr std::string_view kModel("\x0a\x03\x0a\x01\x61\x0a\x03\x0a\x01\x62\x12\x02\x18\x02\x1a\x02\x20\x00", 18);

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    std::vector<MemoryFile> files;
    const auto add = [&](std::string name, std::string_view text) {
        files.push_back({std::move(name), std::as_bytes(std::span(text))});
    };
    add("config.json", kConfig);
    add("model.safetensors", kWeights);
    const int which = data[0] % 4;
    if (which == 0) add("tokenizer.json", bytes);
    if (which == 1) add("tokenizer.model", bytes);
    if (which == 2) add("tokenizer_config.json", bytes);
    if (which == 3) add("added_tokens.json", bytes);
    if (which == 2 && size % 2 == 0) add("tokenizer.json", kTokenizer);
    if (which == 3 || (which == 2 && size % 2 == 1)) add("tokenizer.model", kModel);
    const auto directory = ModelDirectory::from_files(std::move(files), "fuzz");
    require(directory.has_value());
    GgufWriter writer;
    if (const auto result = add_vocabulary(*directory, kRows, writer); !result) {
        require(!result.error().message.empty());
        return 0;
    }
    const std::vector<std::byte> header = writer.header();
    const auto file = GgufFile::from_bytes(header, "fuzz.gguf");
    require(file.has_value());
    const auto tokens = file->metadata().strings("tokenizer.ggml.tokens");
    require(tokens && tokens->size() == static_cast<size_t>(kRows));
    return 0;
}
