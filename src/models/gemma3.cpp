// Architectures "gemma3": Gemma 3, text, and "gemma-embedding", an encoder of the same layers.
// As Gemma 2 with norms of each head's query and key in place of the soft cap of scores. Five of six layers have a
// window; they turn by a rope of their own, which is never scaled, while the rope of the others may be (linearly).
// GGUF files say nothing about the pattern, and old ones not the base of the windows' rope. The encoder sees both ways,
// through a window half of it to each side, and gives hidden states.
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/gemma_config.h"

namespace invar {
namespace {

constexpr std::string_view kEncoder = "gemma-embedding";

Result<void> read_layers(const Hyperparameters& keys, ModelConfig& config) {
    return read_gemma_layers(
        keys, config, {.architecture = "gemma3", .period = 6, .caps = false, .local_rope = true, .largest_layers = 62});
}

Result<void> read_encoder_layers(const Hyperparameters& keys, ModelConfig& config) {
    TRY_ASSIGN(const bool causal, keys.boolean_or("causal attention", false));
    if (causal)
        return fail(ErrorKind::unsupported, "{}: {} is true, but architecture {} sees both ways", keys.file(),
                    keys.spell("causal attention"), kEncoder);
    TRY(read_layers(keys, config));
    for (LayerSpec& layer : config.layers) std::get<AttentionGeometry>(layer.mixer).reach = Reach::both_ways;
    config.result = ModelResult::hidden;
    return {};
}

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    const Hyperparameters keys(checkpoint);
    TRY_ASSIGN(const std::string type, Hyperparameters::architecture(checkpoint));
    bool both_ways = type == kEncoder;
    if (!is_gguf(keys)) {
        TRY_ASSIGN(both_ways, keys.boolean_or("attention both ways", false));
    }
    std::vector<std::string_view> computes = gemma_keys();
    computes.push_back("use_bidirectional_attention");
    return read_decoder_config(checkpoint, {.architecture = both_ways ? kEncoder : "gemma3",
                                            .activation = "gelu_pytorch_tanh",
                                            .computes = std::move(computes),
                                            .read_layers = both_ways ? read_encoder_layers : read_layers});
}

DecoderTraits traits(const ModelConfig& config) {
    DecoderTraits traits{.head_norms = true, .norms_less_one = true};
    traits.head = config.architecture != kEncoder;
    traits.norms = gemma_norms();
    return traits;
}

std::vector<WantedWeight> declare(const ModelConfig& config, const Checkpoint& checkpoint) {
    return declare_decoder(config, checkpoint, traits(config));
}

Result<std::unique_ptr<Model>> build(const ModelConfig& config, const WeightSource& weights) {
    return build_decoder(config, weights, traits(config));
}

}  // namespace

const Architecture kGemma3Architecture{.name = "gemma3",
                                       .summary = "Gemma 3, text",
                                       .model_types = {"gemma3_text"},
                                       .read_config = read_config,
                                       .declare = declare,
                                       .build = build};
// config.json calls it Gemma 3, too, and says that it sees both ways.
const Architecture kGemmaEmbeddingArchitecture{.name = "gemma-embedding",
                                               .summary = "EmbeddingGemma",
                                               .model_types = {},
                                               .read_config = read_config,
                                               .declare = declare,
                                               .build = build};

}  // namespace invar
