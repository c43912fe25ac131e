// Architecture "qwen2": Qwen2 and Qwen2.5, dense.
// Query, key and value have biases; rope pairs the halves of a head.
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/read_config.h"

namespace invar {
namespace {

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    return read_dense_config(checkpoint, {.architecture = "qwen2"});
}

std::vector<WantedWeight> declare(const ModelConfig& config, const Checkpoint& checkpoint) {
    return declare_decoder(config, checkpoint, {.attention_biases = true});
}

}  // namespace

const Architecture kQwen2Architecture{.name = "qwen2",
                                      .summary = "Qwen2 and Qwen2.5, dense",
                                      .model_types = {"qwen2"},
                                      .read_config = read_config,
                                      .declare = declare,
                                      .build = build_decoder};

}  // namespace invar
