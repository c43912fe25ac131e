// Architecture "minimax-m2": MiniMax M2, a mixture of experts.
// Queries and keys are normalised over all heads together, before rope, which turns the first part of a head. The
// router takes sigmoids, ranks by them plus a bias, and weighs by them alone, renormalised.
#include "files/printable.h"
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/read_config.h"

namespace invar {
namespace {

Result<void> check_router(const Hyperparameters& keys) {
    TRY(check_router_law(keys, {2}));
    if (is_gguf(keys) || !keys.has("router")) return {};
    TRY_ASSIGN(const std::string name, keys.text("router"));
    if (name == "sigmoid") return {};
    return fail(ErrorKind::unsupported, "{}: {} is '{}', but only sigmoid is supported for this architecture",
                keys.file(), keys.spell("router"), printable(name));
}

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    TRY_ASSIGN(ModelConfig config, read_decoder_config(checkpoint, {.architecture = "minimax-m2",
                                                                    .computes = {"scoring_func", "use_qk_norm"},
                                                                    .mixture = {.renormalised = true}}));
    const Hyperparameters keys(checkpoint);
    TRY(check_router(keys));
    TRY_ASSIGN(const bool norms, keys.boolean_or("query and key norms", true));
    if (!norms) {
        return fail(ErrorKind::unsupported, "{}: {} is false, but this architecture has norms of queries and keys",
                    keys.file(), keys.spell("query and key norms"));
    }
    for (LayerSpec& layer : config.layers) {
        auto* mixture = std::get_if<MixtureGeometry>(&layer.ffn);
        if (mixture == nullptr) {
            return fail("{}: {} is missing or 0, but every layer of minimax-m2 has a mixture of experts", keys.file(),
                        keys.spell("experts"));
        }
        mixture->route.scoring = RouteSpec::Scoring::sigmoid;
    }
    return config;
}

DecoderTraits traits() {
    return {.whole_norms = true,
            .selection_biases = true,
            .mixture = {.router = "block_sparse_moe.gate.weight",
                        .selection_bias = "block_sparse_moe.e_score_correction_bias",
                        .gate = "block_sparse_moe.experts.{}.w1.weight",
                        .up = "block_sparse_moe.experts.{}.w3.weight",
                        .down = "block_sparse_moe.experts.{}.w2.weight"}};
}

}  // namespace

const Architecture kMiniMaxM2Architecture{.name = "minimax-m2",
                                          .summary = "MiniMax M2, a mixture of experts",
                                          .model_types = {"minimax_m2"},
                                          .read_config = read_config,
                                          .declare = declare_with<traits>,
                                          .build = build_with<traits>};

}  // namespace invar
