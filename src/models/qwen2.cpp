// Architecture "qwen2": Qwen2 and Qwen2.5, dense.
// Query, key and value have biases; rope pairs the halves of a head.
#include "models/architectures.h"
#include "models/blocks.h"

namespace invar {
namespace {

Result<ModelConfig> read_config(const GgufFile& file) {
    TRY_ASSIGN(ModelConfig config, read_decoder_config(file, "qwen2", RopePairing::halves));
    if (config.experts.count > 0) {
        return fail(
            "{}: architecture qwen2 is dense, but qwen2.expert_count is {}; the file names the wrong architecture",
            file.name(), config.experts.count);
    }
    return config;
}

std::vector<WantedWeight> declare(const ModelConfig& config, const GgufFile& file) {
    return declare_decoder(config, file, {.attention_biases = true});
}

}  // namespace

const Architecture kQwen2Architecture{.name = "qwen2",
                                      .summary = "Qwen2 and Qwen2.5, dense",
                                      .read_config = read_config,
                                      .declare = declare,
                                      .build = build_decoder};

}  // namespace invar
