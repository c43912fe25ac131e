// Measures how far two runs of one model drift apart on the same tokens: in the residual stream after every layer, and
// in the distribution of the next token at every position. The first run is kept in memory (layers x tokens x width
// binary32), so that the two models need not be loaded at the same time.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "proof/record/model_runner.h"

namespace invar {

struct ResidualRun {
    std::vector<int32_t> tokens;
    int64_t width = 0, vocabulary = 0;
    ModelResult result = ModelResult::logits;     // an encoder has none, and `logits` is empty
    std::map<int, std::vector<float>> residuals;  // by layer, -1 for the embedding: [tokens, width]
    std::vector<float> logits;                    // [tokens, vocabulary]
};
// The runner must have been opened with logits for every row of a chunk. `before`: hooks that change the run.
Result<ResidualRun> run_residuals(ModelRunner& runner, std::span<const int32_t> tokens,
                                  std::vector<VerbHook*> before = {});

struct LayerDrift {
    int layer = 0;            // -1: the embedding
    double relative_rms = 0;  // rms(a - b) / rms(a) over all positions
    double added = 0;         // by this layer: sqrt(drift^2 - drift before^2), or 0 if the drift shrank
    int64_t worst_position = 0;
    double worst = 0;  // relative RMS at worst_position
};
struct PositionDrift {
    double kl = 0;  // KL(A || B) of the next token, nats
    bool same_best = true;
    bool equal_bits = false;  // the logits of the tokens that both have
};
struct DriftReport {
    std::vector<LayerDrift> layers;
    std::vector<PositionDrift> positions;
    bool logits = true;   // the models make logits; else positions say whether the residual streams are equal
    int first_jump = -2;  // the first layer that adds more than four times the median of all layers; -2: none

    double mean_kl() const;
    double largest_kl() const;
    double same_best_share() const;
    bool equal_bits() const;  // the logits of every position
};
// Both runs must have the same tokens, and widths and layers of one model.
DriftReport compare_runs(const ResidualRun& a, const ResidualRun& b);

}  // namespace invar
