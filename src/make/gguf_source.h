// The content of a GGUF file to be written: its tensors under GGUF's names and in GGUF's order of rows, and its
// metadata. The weights come from a GGUF file or from a model directory. Keys, names and orders are those of
// llama.cpp's converter, so that llama.cpp reads the result. quantize.h chooses the formats.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "files/checkpoint.h"
#include "files/gguf.h"
#include "files/gguf_writer.h"
#include "files/stored_weight.h"
#include "models/wanted_weight.h"

namespace invar {

struct SourceTensor {
    TensorInfo info;                               // GGUF's name and shape; format and bytes of the source
    const StoredWeight* weight = nullptr;          // null: info.data holds the rows as they are
    std::vector<const StoredWeight*> joined = {};  // more weights whose rows are in the file's tensor
    // Row r of a matrix of the file is row row_order[r] of the weight, in which the rows of `joined` follow; of a
    // vector, number r. Empty: the same.
    std::vector<int64_t> row_order;
    std::vector<float> numbers;  // the whole tensor, if it is computed from the config
    // Its matrices are stored without their factors, which another tensor holds; null: as `weight` has them.
    std::shared_ptr<const StoredWeight> without_factors = nullptr;

    // True if blocks may be copied: otherwise a number that is not in the blocks would be lost.
    // Vectors are small and always written as numbers.
    bool can_copy() const;
};

// The tensors in which a GGUF file holds weights, as wanted and as a directory stores them; both must outlive the
// result. Weights that share a tensor are joined in it. Factors of experts that GGUF has a tensor for stay apart from
// their weights. `file` names the directory in an error.
Result<std::vector<SourceTensor>> gguf_tensors(std::span<const WantedWeight> wanted,
                                               std::span<const StoredWeight> weights, const std::string& file);

class GgufSource {
  public:
    // `in` must outlive the result.
    static GgufSource of(const GgufFile& in);
    // For a directory. Errors name what the directory lacks, or what a GGUF file cannot express.
    static Result<GgufSource> of(const Checkpoint& in);

    const std::string& name() const;
    std::span<const SourceTensor> tensors() const { return tensors_; }
    void advise_sequential() const;
    // What it says of vectors (gguf_embedding.h), for a directory. The result is notes on what the file cannot say.
    Result<std::vector<std::string>> add_embedding(GgufWriter& writer) const;
    // The same of the rest. Without a vocabulary a directory's tokenizer is left out.
    Result<std::vector<std::string>> add_metadata(GgufWriter& writer, bool vocabulary = true) const;

  private:
    struct Model;  // of a directory
    GgufSource() = default;

    const GgufFile* gguf_ = nullptr;
    const Checkpoint* checkpoint_ = nullptr;
    std::shared_ptr<const Model> model_;
    std::vector<SourceTensor> tensors_;
};

// Reads rows of a source: one for each thread. Errors name a tensor of a directory whose scales no model can have.
class SourceReader {
  public:
    SourceReader() : reader_(RowReader::Access::read) {}

    // The numbers of one of the file's rows, counted over all matrices.
    Result<void> decode(const SourceTensor& tensor, int64_t row, float* out);
    // The blocks of one row.
    Result<const std::byte*> blocks(const SourceTensor& tensor, int64_t row);

  private:
    RowReader reader_;
};

}  // namespace invar
