// Architecture "qwen3moe": Qwen3 mixture of experts.
// As qwen3, with a mixture of experts in every layer: softmax over all experts, the best k renormalised.
#include "models/architectures.h"
#include "models/blocks.h"

namespace invar {
namespace {

Result<ModelConfig> read_config(const GgufFile& file) {
    TRY_ASSIGN(ModelConfig config, read_decoder_config(file, "qwen3moe", RopePairing::halves));
    if (config.experts.count == 0) {
        return fail(
            "{}: qwen3moe.expert_count is missing or 0, but a mixture of experts needs it; the file is incomplete",
            file.name());
    }
    return config;
}

std::vector<WantedWeight> declare(const ModelConfig& config, const GgufFile& file) {
    return declare_decoder(config, file, {.head_norms = true});
}

}  // namespace

const Architecture kQwen3MoeArchitecture{.name = "qwen3moe",
                                         .summary = "Qwen3 mixture of experts",
                                         .read_config = read_config,
                                         .declare = declare,
                                         .build = build_decoder};

}  // namespace invar
