// What is to become a GGUF file: its tensors under GGUF's names and in GGUF's order of rows, and its metadata, whether
// the weights come from a GGUF file or from a model directory. Keys, names and orders are those that llama.cpp's
// converter writes, so that llama.cpp reads the result. Which format a tensor gets is quantize.h's.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "files/checkpoint.h"
#include "files/gguf.h"
#include "files/gguf_writer.h"
#include "files/stored_weight.h"

namespace invar {

struct SourceTensor {
    TensorInfo info;                       // GGUF's name and shape; format and bytes of the source
    const StoredWeight* weight = nullptr;  // null: info.data holds the rows as they are
    std::vector<int64_t> row_order;        // which row of a matrix of the weight is each of the file's; empty: the same
    std::vector<float> numbers;            // the whole tensor, where it is made of the config

    // True where blocks may be copied: a number that is not in the blocks would be lost otherwise.
    bool can_copy() const { return weight == nullptr || (weight->row_scales.empty() && numbers.empty()); }
};

class GgufSource {
  public:
    // `in` must outlive the result.
    static GgufSource of(const GgufFile& in);
    // Of a directory: errors name what the file lacks, or what a GGUF file cannot say.
    static Result<GgufSource> of(const Checkpoint& in);

    const std::string& name() const;
    std::span<const SourceTensor> tensors() const { return tensors_; }
    std::span<const std::filesystem::path> paths() const;
    void advise_sequential() const;
    Result<void> add_metadata(GgufWriter& writer) const;

  private:
    struct Model;  // of a directory
    GgufSource() = default;

    const GgufFile* gguf_ = nullptr;
    const Checkpoint* checkpoint_ = nullptr;
    std::shared_ptr<const Model> model_;
    std::vector<SourceTensor> tensors_;
};

// Reads rows of a source: one for each thread.
class SourceReader {
  public:
    SourceReader() : reader_(RowReader::Access::mapped) {}

    // The numbers of one of the file's rows, all matrices counted.
    Result<void> decode(const SourceTensor& tensor, int64_t row, float* out);
    // The blocks of one row.
    Result<const std::byte*> blocks(const SourceTensor& tensor, int64_t row);

  private:
    RowReader reader_;
};

}  // namespace invar
