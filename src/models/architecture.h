// What an architecture must say of itself: its hyper-parameters, the weights it wants, and its forward pass.
// One row in the table of architecture.cpp each; an architecture without a row is refused, never guessed.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "files/gguf.h"
#include "models/config.h"
#include "ops/ops.h"

namespace invar {

enum class WeightShape : uint8_t { vector, matrix, stack };

// One weight the model wants. Required unless it is an alias of another (tied embeddings).
struct WantedWeight {
    WeightId id;
    std::string tensor;  // its name in the file
    WeightShape kind = WeightShape::matrix;
    std::vector<int64_t> shape;        // outermost first: [rows, columns], [experts, rows, columns] or [size]
    std::optional<WeightId> alias_of;  // same storage as that weight: no tensor of its own, no bytes
    bool looked_up_by_row = false;     // embedding tables: rows are decoded one at a time
};

// Gives a model its weights. At plan time the data pointers are null and the rest is as it will be.
class WeightSource {
  public:
    virtual ~WeightSource() = default;
    virtual WeightMatrix matrix(WeightId id) const = 0;
    virtual WeightStack stack(WeightId id) const = 0;
    virtual WeightVector vector(WeightId id) const = 0;
    virtual bool has(WeightId id) const = 0;
};

class Model {
  public:
    virtual ~Model() = default;
    // Runs the rows of the batch through the model, storing keys and values. Logits [batch.logits_rows, vocabulary].
    virtual Tensor forward(Ops& ops, const Batch& batch, KvCache& cache) const = 0;
};

struct Architecture {
    std::string_view name;     // general.architecture
    std::string_view summary;  // for `invar models`
    Result<ModelConfig> (*read_config)(const GgufFile& file);
    // The weights for this config; the file is asked only whether an optional tensor is there.
    std::vector<WantedWeight> (*declare)(const ModelConfig& config, const GgufFile& file);
    // Errors: a table of the file (rope frequencies) that makes no sense.
    Result<std::unique_ptr<Model>> (*build)(const ModelConfig& config, const WeightSource& weights);
};

std::span<const Architecture* const> architectures();
// Errors name the architecture and list those that are supported.
Result<const Architecture*> find_architecture(const GgufFile& file);

}  // namespace invar
