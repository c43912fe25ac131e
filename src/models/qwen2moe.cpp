// Architecture "qwen2moe": Qwen1.5 and Qwen2 with a mixture of experts.
// It is qwen2 with a mixture in the layers that mlp_only_layers and decoder_sparse_step leave to it: softmax over all
// experts, the best k, renormalised only where norm_topk_prob says so. One more expert is taken by every token; the
// sigmoid of a number of its own multiplies its result.
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/read_config.h"

namespace invar {
namespace {

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    const Hyperparameters keys(checkpoint);
    // transformers gives such models windows in every other layer, unlike qwen2; the kinds of layers must say so.
    TRY_ASSIGN(const bool windows, keys.boolean_or("windows used", false));
    if (windows && !keys.has("layer kinds")) {
        return fail(ErrorKind::unsupported, "{}: {} is true, but {} does not say which layers have windows",
                    keys.file(), keys.spell("windows used"), keys.spell("layer kinds"));
    }
    TRY_ASSIGN(ModelConfig config,
               read_decoder_config(checkpoint,
                                   {.architecture = "qwen2moe", .mixture = {.renormalised = false, .shared = true}}));
    if (config.most_experts() > 0) return config;
    return fail("{}: {} is missing or 0, but a mixture of experts needs it; the file is incomplete", keys.file(),
                keys.spell("experts"));
}

std::vector<WantedWeight> declare(const ModelConfig& config, const Checkpoint& checkpoint) {
    return declare_decoder(config, checkpoint, {.attention_biases = true});
}

}  // namespace

const Architecture kQwen2MoeArchitecture{.name = "qwen2moe",
                                         .summary = "Qwen1.5 and Qwen2, mixture of experts",
                                         .model_types = {"qwen2_moe"},
                                         .read_config = read_config,
                                         .declare = declare,
                                         .build = build_decoder};

}  // namespace invar
