// Architectures "granite" and "granitemoe": IBM's Granite 3, dense and with a mixture of experts.
// It is llama with multipliers: of the embeddings, of what each branch adds to the residual stream, and of the scores
// (in place of 1 / sqrt(head width)); the logits are divided by a number. Each is rounded to binary32 when it is read,
// because GGUF files hold it so; the division is a multiplication by the reciprocal of that number, rounded once. The
// mixture ranks by logits and weighs by the softmax of the chosen ones. Its experts are stacked, gate above up.
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/granite_config.h"
#include "models/read_config.h"

namespace invar {
namespace {

Result<ModelConfig> read_granite(const Checkpoint& checkpoint, std::string_view architecture) {
    TRY_ASSIGN(ModelConfig config,
               read_decoder_config(checkpoint,
                                   {.architecture = architecture,
                                    .computes = {"embedding_multiplier", "residual_multiplier", "attention_multiplier",
                                                 "logits_scaling", "position_embedding_type"}}));
    const Hyperparameters keys(checkpoint);
    TRY(read_granite_multipliers(keys, config));
    TRY_ASSIGN(const double score_scale, keys.positive("score scale"));
    TRY_ASSIGN(const bool rope, granite_has_rope(keys, true));
    for (LayerSpec& layer : config.layers) {
        auto& attention = std::get<AttentionGeometry>(layer.mixer);
        attention.scale = static_cast<float>(score_scale);
        if (!rope) attention.rope = -1;
    }
    return config;
}

Result<ModelConfig> read_dense(const Checkpoint& checkpoint) {
    TRY_ASSIGN(ModelConfig config, read_granite(checkpoint, "granite"));
    if (config.most_experts() == 0) return config;
    return fail("{}: architecture granite is dense, but {} is {}; the file names the wrong architecture",
                checkpoint.name(), Hyperparameters(checkpoint).spell("experts"), config.most_experts());
}

Result<ModelConfig> read_mixture(const Checkpoint& checkpoint) {
    TRY_ASSIGN(ModelConfig config, read_granite(checkpoint, "granitemoe"));
    const Hyperparameters keys(checkpoint);
    TRY(check_router_law(keys, {1, 3}));  // law 1, renormalised, is the same mathematics
    TRY(check_renormalised(keys));
    for (LayerSpec& layer : config.layers) {
        auto* mixture = std::get_if<MixtureGeometry>(&layer.ffn);
        if (mixture == nullptr) {
            return fail("{}: {} is missing or 0, but every layer of granitemoe has a mixture of experts", keys.file(),
                        keys.spell("experts"));
        }
        mixture->route.scoring = RouteSpec::Scoring::softmax_of_chosen;
        mixture->route.renormalise = false;
    }
    return config;
}

std::vector<WantedWeight> declare(const ModelConfig& config, const Checkpoint& checkpoint) {
    constexpr MixtureNames kNames{.router = "block_sparse_moe.router.layer.weight",
                                  .fused = "block_sparse_moe.input_linear.weight",
                                  .down_fused = "block_sparse_moe.output_linear.weight"};
    return declare_decoder(config, checkpoint, {.gguf_rope_neighbours = true, .mixture = kNames});
}

}  // namespace

const Architecture kGraniteArchitecture{.name = "granite",
                                        .summary = "IBM's dense Granite 3",
                                        .model_types = {"granite"},
                                        .read_config = read_dense,
                                        .declare = declare,
                                        .build = build_decoder};
const Architecture kGraniteMoeArchitecture{.name = "granitemoe",
                                           .summary = "IBM's Granite 3 with a mixture of experts",
                                           .model_types = {"granitemoe"},
                                           .read_config = read_mixture,
                                           .declare = declare,
                                           .build = build_decoder};

}  // namespace invar
