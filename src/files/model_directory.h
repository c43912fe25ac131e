// Opens a model directory as the tools of the field write it: weights in one or several SafeTensors files, config.json
// beside them, and the files of the tokenizer; or Mistral's own layout (params.json, consolidated.safetensors). It
// decides which files are taken and that they agree with each other: index and headers, config.json and
// hf_quant_config.json. It reads headers and small JSON files only. checkpoint/ decides what a tensor or a config's key
// means. docs/checkpoints.md lists what is taken and what is refused.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"
#include "base/mapped_file.h"
#include "base/result.h"
#include "files/folder.h"
#include "files/name_index.h"
#include "files/safetensors.h"
#include "files/shard_index.h"

namespace invar {

struct SentenceModule;

inline constexpr uint64_t kConfigMostBytes = 32u << 20;
inline constexpr uint64_t kShardIndexMostBytes = 256u << 20;

// Files beside the weights that a model may have. If several of them hold the same information, their reader (text/)
// decides which is taken.
inline constexpr std::array<std::string_view, 17> kSideFiles = {
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "tekken.json",
    "tiktoken.model",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "params.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
};

class ModelDirectory {
  public:
    enum class Layout : uint8_t {
        hugging_face,  // config.json; tensors named as transformers names them
        mistral,       // params.json and consolidated.safetensors; Mistral's own names
    };

    // Whether a path is for open() here and not for GgufFile::open(): a directory, or a name that ends in .safetensors
    // or .json.
    static bool is_meant_by(const std::filesystem::path& path);

    // `path` is the directory, its config.json, params.json or index, or a .safetensors file in it. Such a file is
    // taken alone, or with all shards if it is one of them. Every error is one sentence that names the file, then the
    // tensor or key.
    static Result<ModelDirectory> open(const std::filesystem::path& path);
    // Opens files in memory, for tests and fuzzing; their bytes must outlive the result.
    static Result<ModelDirectory> from_files(std::vector<MemoryFile> files, std::string name);

    ModelDirectory(ModelDirectory&&) noexcept;
    ModelDirectory& operator=(ModelDirectory&&) noexcept;
    ~ModelDirectory();

    // The tensors in the order of the files, then of their bytes. A tensor of an unknown dtype is listed like the
    // others.
    std::span<const SafeTensor> tensors() const { return tensors_; }
    const SafeTensor* find(std::string_view tensor) const;

    Layout layout() const { return layout_; }
    const Json& config() const;  // an object: config.json, or params.json in Mistral's layout
    const std::string& config_name() const { return config_name_; }  // its path, as messages call it
    // The config's quantization_config (or compression_config, its former name), also from inside text_config; null if
    // there is none.
    const Json* quantization_config() const;
    // The object `quantization` of hf_quant_config.json, which ModelOpt writes; null if there is none. If both exist,
    // they name the same algorithms.
    const Json* hf_quant_config() const;
    const Json* generation_config() const;  // an object; null where there is none

    // The modules of modules.json (sentence_modules.h); none in Mistral's layout. The tensors of a Dense module are
    // among tensors(), each named "FOLDER/NAME".
    std::span<const SentenceModule> sentence_modules() const;

    bool has(std::string_view side_file) const;  // one of kSideFiles
    // Reads the whole file. Errors: it is missing, is larger than `most_bytes`, or cannot be read.
    Result<std::string> read(std::string_view side_file, uint64_t most_bytes) const;
    // The same as JSON (json_document.h).
    Result<Json> read_json(std::string_view side_file, uint64_t most_bytes) const;
    std::string name_of(std::string_view side_file) const;  // its path, as messages call it

    const std::string& name() const;                                         // the directory, as messages call it
    std::span<const std::string> file_names() const { return file_names_; }  // of the weights, as messages call them
    std::span<const MappedFile> mappings() const { return mappings_; }       // likewise; empty after from_files
    // Of everything that is taken: weights, their index, configs and side files; empty after from_files.
    std::vector<std::filesystem::path> paths() const;
    uint64_t file_bytes() const { return file_bytes_; }  // of the weights' files, headers included
    uint64_t tensor_bytes() const { return tensor_bytes_; }

    // The identity of everything that is taken: weights, configs and side files, with their names (base/hash.h). Reads
    // every byte. Errors: a side file is empty, is a pointer to a large file, or cannot be read.
    Result<std::string> digest() const;

  private:
    struct Documents;
    ModelDirectory(Folder folder, Layout layout);

    static Result<ModelDirectory> assemble(Folder folder, std::string_view only);
    Result<void> read_documents();
    std::vector<std::string> taken_beside_weights() const;
    Result<void> add_file(const std::string& file, const std::string& folder);
    Result<void> add_modules();
    Result<void> check_index(const ShardIndex& index) const;

    Folder folder_;
    Layout layout_;
    std::string config_name_;
    std::unique_ptr<Documents> documents_;
    std::string index_;  // the index that was followed; empty if there is none
    std::vector<std::string> files_;
    std::vector<std::string> file_names_;
    std::vector<MappedFile> mappings_;
    std::vector<SafeTensor> tensors_;
    NameIndex by_name_;
    uint64_t file_bytes_ = 0;
    uint64_t tensor_bytes_ = 0;
};

}  // namespace invar
