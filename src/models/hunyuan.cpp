// Architectures "hunyuan-dense" and "hunyuan-moe": Tencent's Hunyuan, dense and with a mixture of experts.
// Each head's query and key has a norm behind rope. The mixture takes a softmax over all experts, renormalises the
// chosen weights, and adds an expert of the dense part's width that every token takes. config.json may raise the
// rope's base by alpha^(d / (d - 2)) for heads of d elements (scaling "dynamic"); GGUF files hold the raised base.
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/read_config.h"

namespace invar {
namespace {

Result<void> read_attention(const Hyperparameters& keys, ModelConfig& config) {
    TRY_ASSIGN(const bool norms, keys.boolean_or("query and key norms", true));
    if (!norms) {
        return fail(ErrorKind::unsupported, "{}: {} is false, but this architecture has norms of queries and keys",
                    keys.file(), keys.spell("query and key norms"));
    }
    for (LayerSpec& layer : config.layers) std::get<AttentionGeometry>(layer.mixer).norms_behind_rope = true;
    return {};
}

Result<ModelConfig> read_dense(const Checkpoint& checkpoint) {
    TRY_ASSIGN(ModelConfig config, read_dense_config(checkpoint, {.architecture = "hunyuan-dense",
                                                                  .computes = {"use_qk_norm"},
                                                                  .rope = {.alpha_raises_base = true}}));
    TRY(read_attention(Hyperparameters(checkpoint), config));
    return config;
}

Result<int64_t> read_shared_width(const Hyperparameters& keys) {
    if (is_gguf(keys)) return keys.integer("shared expert width", 1, kMaximumWidth);
    if (keys.has("shared experts")) {
        TRY_ASSIGN(const int64_t shared, read_uniform(keys, "shared experts", 0, kMaximumExperts));
        if (shared != 1) {
            return fail(ErrorKind::unsupported, "{}: {} is {}, but only 1 is supported for this architecture",
                        keys.file(), keys.spell("shared experts"), shared);
        }
    }
    return keys.integer("ffn width", 1, kMaximumWidth);
}

Result<ModelConfig> read_mixture_config(const Checkpoint& checkpoint) {
    TRY_ASSIGN(ModelConfig config,
               read_decoder_config(checkpoint, {.architecture = "hunyuan-moe",
                                                .computes = {"use_qk_norm"},
                                                .mixture = {.renormalised = true, .shared_apart = true},
                                                .rope = {.alpha_raises_base = true}}));
    const Hyperparameters keys(checkpoint);
    TRY(read_attention(keys, config));
    TRY(check_router_law(keys, {1}));
    TRY_ASSIGN(const int64_t shared, read_shared_width(keys));
    for (LayerSpec& layer : config.layers) {
        auto* mixture = std::get_if<MixtureGeometry>(&layer.ffn);
        if (mixture == nullptr) {
            return fail("{}: {} is missing or 0, but every layer of hunyuan-moe has a mixture of experts", keys.file(),
                        keys.spell("experts"));
        }
        mixture->shared_width = shared;
    }
    return config;
}

DecoderTraits traits() {
    DecoderTraits traits{.head_norms = true};
    traits.attention.query_norm = "self_attn.query_layernorm.weight";
    traits.attention.key_norm = "self_attn.key_layernorm.weight";
    traits.mixture.router = "mlp.gate.wg.weight";
    traits.mixture.shared.gate.hugging_face = "mlp.shared_mlp.gate_proj.weight";
    traits.mixture.shared.up.hugging_face = "mlp.shared_mlp.up_proj.weight";
    traits.mixture.shared.down.hugging_face = "mlp.shared_mlp.down_proj.weight";
    return traits;
}

}  // namespace

const Architecture kHunyuanDenseArchitecture{.name = "hunyuan-dense",
                                             .summary = "Tencent's dense Hunyuan",
                                             .model_types = {"hunyuan_v1_dense"},
                                             .read_config = read_dense,
                                             .declare = declare_with<traits>,
                                             .build = build_with<traits>};
const Architecture kHunyuanMoeArchitecture{.name = "hunyuan-moe",
                                           .summary = "Tencent's Hunyuan with a mixture of experts",
                                           .model_types = {"hunyuan_v1_moe"},
                                           .read_config = read_mixture_config,
                                           .declare = declare_with<traits>,
                                           .build = build_with<traits>};

}  // namespace invar
