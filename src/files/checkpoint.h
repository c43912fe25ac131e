// A model's opened files: where every tensor's bytes are, and what the files say about the model. It is one type for
// every container, and the only one that code above this folder sees. Opening reads headers and small JSON files only.
// models/ and checkpoint/binding.h decide which tensor is which weight; stored_weight.h makes the bytes of a weight
// from tensors.
#pragma once

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
#include "files/metadata.h"
#include "files/tensor_info.h"

namespace invar {

class GgufFile;
class ModelDirectory;
struct MemoryFile;

// The naming of tensors and hyper-parameters.
enum class Dialect : uint8_t {
    gguf,          // "blk.0.attn_q.weight", "llama.block_count"
    hugging_face,  // "model.layers.0.self_attn.q_proj.weight", "num_hidden_layers"
    mistral,       // "layers.0.attention.wq.weight", "n_layers": a directory in Mistral's own layout
};

class Checkpoint {
  public:
    // Opens a GGUF file, or the whole set if `path` is any part of a split one; or a model directory, its config.json,
    // or a .safetensors file in it (model_directory.h). All errors name the file, then the tensor or key, and the
    // numbers that disagree.
    static Result<Checkpoint> open(const std::filesystem::path& path);
    // A GGUF file in memory, for tests and fuzzing; `bytes` must outlive the result.
    static Result<Checkpoint> from_bytes(std::span<const std::byte> bytes, std::string name);
    // A model directory in memory, likewise.
    static Result<Checkpoint> from_files(std::vector<MemoryFile> files, std::string name);

    Dialect dialect() const;
    const std::string& name() const;              // as messages call it
    std::span<const TensorInfo> tensors() const;  // in the order of the files
    const TensorInfo* find(std::string_view tensor) const;
    // Whether the name of any tensor ends in a dot and this text, which has none. It saves looking for each module's.
    bool any_ends_in(std::string_view last) const;
    const Metadata& metadata() const;  // GGUF's key-value pairs; none of a directory
    // What config.json says of the text model: the object itself, or its text_config; params.json in Mistral's own
    // layout. Of directories only.
    const Json& config() const;

    std::span<const std::filesystem::path> paths() const;  // of the files with tensors; empty after from_bytes
    std::span<const MappedFile* const> mappings() const;   // likewise
    uint64_t file_bytes() const;                           // of all of them, headers included
    uint64_t tensor_bytes() const;

    const GgufFile* gguf() const;             // null where it is none; for files/ and make/
    const ModelDirectory* directory() const;  // null if it is none; for readers of the files beside the weights

  private:
    struct State;
    explicit Checkpoint(std::shared_ptr<const State> state) : state_(std::move(state)) {}

    std::shared_ptr<const State> state_;  // tensors keep their addresses when a Checkpoint is moved
};

}  // namespace invar
