// Architecture "qwen3": Qwen3, dense.
// Query and key are normalised per head before rope, which pairs the halves of a head. There are no biases.
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/read_config.h"

namespace invar {
namespace {

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    return read_dense_config(checkpoint, {.architecture = "qwen3"});
}

std::vector<WantedWeight> declare(const ModelConfig& config, const Checkpoint& checkpoint) {
    return declare_decoder(config, checkpoint, {.head_norms = true});
}

}  // namespace

const Architecture kQwen3Architecture{.name = "qwen3",
                                      .summary = "Qwen3, dense",
                                      .model_types = {"qwen3"},
                                      .read_config = read_config,
                                      .declare = declare,
                                      .build = build_decoder};

}  // namespace invar
