// Config of Gemma 2 and 3, and the parts of it that Gemma 4 shares.
#pragma once

#include <string_view>
#include <vector>

#include "models/decoder.h"
#include "models/read_config.h"

namespace invar {

// Whether each layer has a window. config.json names the kinds of layers, or, as some GGUF files do, the period in
// which the last layer has none; other files say nothing, and the period is that of the family.
Result<std::vector<bool>> read_gemma_windows(const Hyperparameters& keys, size_t layers, int64_t period);

// The rope of layers with a window: no scaling, a base of its own.
Result<RopeSpec> read_gemma_local_rope(const Hyperparameters& keys, int64_t key_width, double base);

// Numbers in which Gemma 2 and 3 differ.
struct GemmaFamily {
    std::string_view architecture;
    int64_t period = 0;          // of windows, where the file says nothing
    bool caps = false;           // scores and logits have soft caps, without which a GGUF file is incomplete
    bool local_rope = false;     // layers with a window have a rope of their own
    int64_t largest_layers = 0;  // the number of layers of the model whose scores have another scale (gemma_config.cpp)
};
Result<void> read_gemma_layers(const Hyperparameters& keys, ModelConfig& config, const GemmaFamily& family);

// The norms of the residual stream, in front of and behind each branch.
StreamNormNames gemma_norms();
// Keys of config.json that Gemma 2 and 3 compute.
std::vector<std::string_view> gemma_keys();

}  // namespace invar
