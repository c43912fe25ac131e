// Reads mixtures of experts of the kind that DeepSeek began: a router of its own law, experts that every token takes
// beside the routed ones, and dense parts in the first layers. DeepSeek V2 and V3, Kimi K2 and GLM-4.5 have them.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "models/config.h"
#include "models/hyperparameters.h"

namespace invar {

// `scoring` is that of the kind of model. config.json must agree if it states one. A GGUF file's own counts; if it
// states none, `scoring` does.
//   sigmoid (V3): groups are ranked by the sum of their best two, weights renormalised if the config says so
//   softmax (V2): groups are ranked by their best; weights are never renormalised, and a config that asks for it is
//     refused, because published code disagrees on what follows
Result<MixtureGeometry> read_shared_mixture(const Hyperparameters& keys, RouteSpec::Scoring scoring,
                                            std::vector<std::string>& notes);

// Whether each layer has the mixture: those from a first one on, or as a list says. The others are dense.
Result<std::vector<bool>> read_mixture_layers(const Hyperparameters& keys, size_t layers);

// The feed-forward part of each layer. `mixture` is that of the layers that have one.
Result<std::vector<decltype(LayerSpec::ffn)>> read_feed_forward(const Hyperparameters& keys, size_t layers,
                                                                const MixtureGeometry& mixture);

// The layers that the model runs. The others, which predict further tokens, are left out: GGUF files count them as
// layers, config.json does not.
Result<size_t> read_layer_count(const Hyperparameters& keys, ModelConfig& config);

}  // namespace invar
