// Reads the layers of GPT-2 and of the families that follow its plan, GPT-NeoX and Falcon: heads share the width
// evenly, norms are LayerNorms, and the feed-forward part is GELU of one projection.
#pragma once

#include <optional>

#include "base/result.h"
#include "models/config.h"
#include "models/hyperparameters.h"
#include "models/read_config.h"

namespace invar {

struct GptRules {
    Activation activation = Activation::gelu;  // where the checkpoint does not name it; GGUF files never do
    int64_t kv_heads = 0;                      // of every layer; 0: as many as query heads
    std::optional<RopeOptions> rope = {};      // nothing: positions are not rotated
};

// Adds the layers and the rope to what read_model_config() has read. Errors: heads that do not share the width evenly,
// an activation that is not GELU, and those of the parts of read_config.h.
Result<void> read_gpt_layers(const Hyperparameters& keys, ModelConfig& config, const GptRules& rules);

}  // namespace invar
