// Architecture "llama": Llama 1 to 3.x, Mistral, Mixtral and others that use the llama layout.
// GGUF files of this family store query and key rows permuted, so that rope pairs neighbours (2i, 2i + 1). Llama 3's
// scaled frequencies come as the tensor rope_freqs.weight. Biases are taken where the file has them; experts make it
// Mixtral.
#include "models/architectures.h"
#include "models/blocks.h"

namespace invar {
namespace {

Result<ModelConfig> read_config(const GgufFile& file) {
    TRY_ASSIGN(ModelConfig config, read_decoder_config(file, "llama", RopePairing::adjacent));

    return config;
}

std::vector<WantedWeight> declare(const ModelConfig& config, const GgufFile& file) {
    return declare_decoder(config, file, {});
}

}  // namespace

const Architecture kLlamaArchitecture{
    .name = "llama",
    .summary = "Llama 1 to 3.x, Mistral, Mixtral and others that use the llama layout",
    .read_config = read_config,
    .declare = declare,
    .build = build_decoder};

}  // namespace invar
