// An architecture defines its hyper-parameters, the weights it wants, and its forward pass. Each one is a file here and
// a line in architectures.h. An architecture without a line is refused, never guessed.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "files/checkpoint.h"
#include "models/config.h"
#include "models/wanted_weight.h"
#include "ops/ops.h"

namespace invar {

// Gives a model its weights. At plan time the data pointers are null; everything else is as it will be.
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
    // Runs the rows of the batch through the model and stores keys and values. Returns the config's result for
    // batch.logits_rows, [batch.logits_rows, config.result_width()].
    virtual Tensor forward(Ops& ops, const Batch& batch, SequenceState& cache) const = 0;
};

// Reads the config of a checkpoint with the function of an architecture, and refuses keys of a GGUF file that this
// function did not ask for and that change what the model computes (gguf_keys.h).
class ConfigReader {
  public:
    using Read = Result<ModelConfig> (*)(const Checkpoint& checkpoint);
    constexpr ConfigReader(Read read) : read_(read) {}  // NOLINT: an architecture names its function

    Result<ModelConfig> operator()(const Checkpoint& checkpoint) const;
    // The same for a file that has more keys than its architecture reads.
    Result<ModelConfig> with_any_keys(const Checkpoint& checkpoint) const { return read_(checkpoint); }

  private:
    Read read_;
};

struct Architecture {
    std::string_view name;                      // general.architecture of GGUF
    std::string_view summary;                   // for `invar models`
    std::vector<std::string_view> model_types;  // of config.json
    std::vector<std::string_view> also = {};    // other values of general.architecture with the same meaning
    std::string_view gguf_with_experts = {};    // the one of these that GGUF files with experts have; "": the name
    ConfigReader read_config;
    // Lists the weights for this config. The checkpoint is only asked whether an optional tensor is there.
    std::vector<WantedWeight> (*declare)(const ModelConfig& config, const Checkpoint& checkpoint);
    Result<std::unique_ptr<Model>> (*build)(const ModelConfig& config, const WeightSource& weights);
};

std::span<const Architecture* const> architectures();
// Errors name the architecture and list those that are supported.
Result<const Architecture*> find_architecture(const Checkpoint& checkpoint);

}  // namespace invar
