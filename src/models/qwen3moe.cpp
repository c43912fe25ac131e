// Architecture "qwen3moe": Qwen3 mixture of experts.
// It is qwen3 with a mixture of experts in every layer: softmax over all experts, the best k renormalised.
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/read_config.h"

namespace invar {
namespace {

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    TRY_ASSIGN(ModelConfig config, read_decoder_config(checkpoint, {.architecture = "qwen3moe"}));
    if (config.most_experts() > 0) return config;
    return fail("{}: the number of experts is missing or 0, but a mixture of experts needs it; the file is incomplete",
                checkpoint.name());
}

std::vector<WantedWeight> declare(const ModelConfig& config, const Checkpoint& checkpoint) {
    return declare_decoder(config, checkpoint, {.head_norms = true});
}

}  // namespace

const Architecture kQwen3MoeArchitecture{.name = "qwen3moe",
                                         .summary = "Qwen3 mixture of experts",
                                         .model_types = {"qwen3_moe"},
                                         .read_config = read_config,
                                         .declare = declare,
                                         .build = build_decoder};

}  // namespace invar
