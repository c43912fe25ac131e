// Architecture "modern-bert": ModernBERT.
// Every third layer, the first among them, sees all positions; the others see those at most half a window away, both
// ways, and have a rope of their own. LayerNorms without biases stand in front of each branch, but not of the first
// layer's attention, which reads the normalised embeddings. The feed-forward part is gated GELU; one tensor holds both
// of its projections, the activated one first.
#include "models/architectures.h"
#include "models/encoder_config.h"
#include "models/gemma_config.h"

namespace invar {
namespace {

// Whether each layer has a window.
Result<std::vector<bool>> read_local_layers(const Hyperparameters& keys, size_t layers) {
    if (!is_gguf(keys)) {
        TRY_ASSIGN(std::vector<bool> named, read_sliding_layers(keys, layers));
        if (!named.empty()) return named;
    }
    TRY_ASSIGN(const int64_t step, keys.integer("step of global layers", 1, kMaximumLayers));
    std::vector<bool> local(layers);
    for (size_t i = 0; i < layers; ++i) local[i] = static_cast<int64_t>(i) % step != 0;
    return local;
}

Result<void> read_windows(const Hyperparameters& keys, ModelConfig& config) {
    TRY_ASSIGN(const std::vector<bool> local, read_local_layers(keys, config.layers.size()));
    TRY_ASSIGN(const int64_t window, keys.integer("local attention", 1, int64_t{1} << 30));
    if (!keys.has("local rope base"))
        return fail("{}: {} is missing, but layers with a window turn by it", keys.file(),
                    keys.spell("local rope base"));
    TRY_ASSIGN(const RopeSpec rope, read_gemma_local_rope(keys, config.layers[0].attention()->key_width, 1e4));
    config.ropes.push_back(rope);
    for (size_t i = 0; i < local.size(); ++i) {
        if (!local[i]) continue;
        auto& attention = std::get<AttentionGeometry>(config.layers[i].mixer);
        attention.window = static_cast<int>(window);
        attention.rope = 1;
    }
    return {};
}

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    const Hyperparameters keys(checkpoint);
    const bool old_epsilon = is_gguf(keys) && keys.has("layer norm epsilon");
    TRY_ASSIGN(ModelConfig config,
               read_model_config(keys, {.architecture = "modern-bert",
                                        .activation = "gelu",
                                        .epsilon = old_epsilon ? "layer norm epsilon" : "epsilon of LayerNorms",
                                        .computes = {"hidden_activation", "rope_parameters.full_attention",
                                                     "rope_parameters.sliding_attention",
                                                     "position_embedding_type"},  // which nothing reads
                                        .layer_norms = true}));
    TRY(read_encoder_layers(keys, config, {.activation = {.kind = Activation::gelu}, .gated = true, .rope = true}));
    TRY(read_windows(keys, config));
    leave_out_heads(config, {"head.*", "decoder.*", "classifier.*"});
    return config;
}

DecoderTraits traits() {
    DecoderTraits traits{.head = false, .first_mixer_norm = false};
    traits.norms.embedding = {{"embedding_norm", "token_embd_norm.weight", "embeddings.norm.weight"}, {}};
    traits.norms.mixer.weight.hugging_face = "attn_norm.weight";
    traits.norms.ffn.weight.hugging_face = "mlp_norm.weight";
    for (NormNames* norm : {&traits.norms.embedding, &traits.norms.mixer, &traits.norms.ffn, &traits.norms.output})
        norm->bias = {};
    traits.attention.fused = "attn.Wqkv.weight";
    traits.attention.output = "attn.Wo.weight";
    traits.dense = {.down = {"down", "ffn_down.weight", "mlp.Wo.weight"},
                    .gguf_fused = "ffn_up.weight",
                    .hugging_face_fused = "mlp.Wi.weight"};
    return traits;
}

}  // namespace

const Architecture kModernBertArchitecture{.name = "modern-bert",
                                           .summary = "ModernBERT",
                                           .model_types = {"modernbert"},
                                           .read_config = read_config,
                                           .declare = declare_with<traits>,
                                           .build = build_with<traits>};

}  // namespace invar
