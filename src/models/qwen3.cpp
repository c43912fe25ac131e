// Architecture "qwen3": Qwen3, dense.
// Query and key are normalised per head before rope, which pairs the halves of a head; no biases.
#include "models/architectures.h"
#include "models/blocks.h"

namespace invar {
namespace {

Result<ModelConfig> read_config(const GgufFile& file) {
    TRY_ASSIGN(ModelConfig config, read_decoder_config(file, "qwen3", RopePairing::halves));
    if (config.experts.count > 0) {
        return fail(
            "{}: architecture qwen3 is dense, but qwen3.expert_count is {}; the file names the wrong architecture",
            file.name(), config.experts.count);
    }
    return config;
}

std::vector<WantedWeight> declare(const ModelConfig& config, const GgufFile& file) {
    return declare_decoder(config, file, {.head_norms = true});
}

}  // namespace

const Architecture kQwen3Architecture{
    .name = "qwen3", .summary = "Qwen3, dense", .read_config = read_config, .declare = declare, .build = build_decoder};

}  // namespace invar
