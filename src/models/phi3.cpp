// Architecture "phi3": Phi-3, Phi-3.5 and Phi-4-mini.
// Queries, keys and values are one tensor, and so are gate and up (gate first), which GGUF calls ffn_up. Rope turns a
// share of each head, counted from its front, with frequencies of that share. Long-context models have LongRoPE
// (long_rope.h). A window holds in every layer, as transformers applies it; 0 in GGUF says that there is none.
#include "models/architectures.h"
#include "models/decoder.h"
#include "models/read_config.h"

namespace invar {
namespace {

Result<ModelConfig> read_config(const Checkpoint& checkpoint) {
    return read_dense_config(checkpoint, {.architecture = "phi3", .computes = {"partial_rotary_factor"}});
}

std::vector<WantedWeight> declare(const ModelConfig& config, const Checkpoint& checkpoint) {
    DecoderTraits traits;
    traits.dense.gguf_fused = "ffn_up.weight";
    traits.dense.hugging_face_fused = "mlp.gate_up_proj.weight";
    traits.dense.up.hugging_face = "mlp.gate_up_proj.weight";
    return declare_decoder(config, checkpoint, traits);
}

}  // namespace

const Architecture kPhi3Architecture{.name = "phi3",
                                     .summary = "Phi-3, Phi-3.5 and Phi-4-mini",
                                     .model_types = {"phi3"},
                                     .read_config = read_config,
                                     .declare = declare,
                                     .build = build_decoder};

}  // namespace invar
