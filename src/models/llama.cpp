// Architecture "llama": Llama 1 to 3.x, Mistral, Mixtral and others that use the llama layout.
// GGUF files of this family store query and key rows permuted, so that rope's pairs are neighbours; they are read in
// the order of Hugging Face's files, in which the pairs are the halves of a head. Llama 3's scaled frequencies come as
// the tensor rope_freqs.weight. Biases are used if the file has them; a model with experts is a Mixtral.
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/read_config.h"

namespace invar {
namespace {

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    return read_decoder_config(checkpoint, {.architecture = "llama"});
}

std::vector<WantedWeight> declare(const ModelConfig& config, const Checkpoint& checkpoint) {
    constexpr MixtureNames kMixtral{.router = "block_sparse_moe.gate.weight",
                                    .gate = "block_sparse_moe.experts.{}.w1.weight",
                                    .up = "block_sparse_moe.experts.{}.w3.weight",
                                    .down = "block_sparse_moe.experts.{}.w2.weight"};
    return declare_decoder(config, checkpoint, {.gguf_rope_neighbours = true, .mixture = kMixtral});
}

}  // namespace

const Architecture kLlamaArchitecture{
    .name = "llama",
    .summary = "Llama 1 to 3.x, Mistral, Mixtral and others that use the llama layout",
    .model_types = {"llama", "mistral", "mixtral"},
    .read_config = read_config,
    .declare = declare,
    .build = build_decoder};

}  // namespace invar
