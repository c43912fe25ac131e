// Architecture "seed_oss": ByteDance's Seed-OSS.
// It is llama with biases of queries, keys and values. GGUF files call the norm in front of the feed-forward part
// post_attention_norm and keep query and key rows as they are.
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/read_config.h"

namespace invar {
namespace {

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    return read_dense_config(checkpoint, {.architecture = "seed_oss"});
}

std::vector<WantedWeight> declare(const ModelConfig& config, const Checkpoint& checkpoint) {
    DecoderTraits traits;
    traits.norms.ffn.weight.gguf = "post_attention_norm.weight";
    return declare_decoder(config, checkpoint, traits);
}

}  // namespace

const Architecture kSeedOssArchitecture{.name = "seed_oss",
                                        .summary = "ByteDance's Seed-OSS",
                                        .model_types = {"seed_oss"},
                                        .read_config = read_config,
                                        .declare = declare,
                                        .build = build_decoder};

}  // namespace invar
