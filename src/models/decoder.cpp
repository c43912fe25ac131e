// Declaring, filling and running the shared decoder: see decoder.h. The parts of a layer are in blocks.cpp.
#include "models/decoder.h"

#include <utility>

#include "models/decoder_weights.h"
#include "models/embedding_weights.h"
#include "models/weight_visitors.h"

namespace invar {
namespace {

class Decoder final : public Model {
  public:
    Decoder(ModelConfig config, DecoderWeights weights) : config_(std::move(config)), weights_(std::move(weights)) {
        for (const RopeSpec& rope : config_.ropes) ropes_.emplace_back(rope);
    }

    Tensor forward(Ops& ops, const Batch& batch, SequenceState& cache) const override {
        const int64_t wanted = static_cast<int64_t>(batch.logits_rows.size());
        const Tensor residual = ops.scratch(batch.size(), config_.width);
        const DecoderScratch scratch = take_scratch(ops, config_, batch.size());
        const Tensor last = ops.scratch(wanted, config_.width);
        const bool hidden = config_.result == ModelResult::hidden;
        const Tensor logits = hidden ? last : ops.scratch(wanted, config_.vocabulary);

        ops.embed({-1, "embedding"}, weights_.embedding, batch, residual);
        if (config_.embedding_scale != 1) ops.scale({-1, "embedding_scaled"}, residual, config_.embedding_scale);
        add_input_tables(ops, config_, weights_.input_tables, batch, scratch.branch, residual);
        const LayerCall whole{ops, config_, ropes_, -1, batch, cache, scratch};
        if (weights_.embedding_norm.weight)
            run_norm(whole, "embedding_norm", residual, weights_.embedding_norm, residual);
        for (int layer = 0; layer < static_cast<int>(weights_.layers.size()); ++layer) {
            const DecoderLayer& weights = weights_.layers[static_cast<size_t>(layer)];
            const LayerCall call{ops, config_, ropes_, layer, batch, cache, scratch};
            mixer_block(call, weights, residual);
            ffn_block(call, weights, residual);
        }
        if (wanted == 0) return logits;
        ops.gather_rows({-1, "final_rows"}, residual, batch.logits_rows, last);
        if (weights_.output_norm.weight) run_norm(whole, "output_norm", last, weights_.output_norm, last);
        if (!hidden) make_logits(ops, config_, weights_.head, last, logits);
        return logits;
    }

  private:
    ModelConfig config_;
    DecoderWeights weights_;
    std::vector<RopeTable> ropes_;
};

}  // namespace

void make_logits(Ops& ops, const ModelConfig& config, const WeightMatrix& head, Tensor last, Tensor logits) {
    ops.linear({-1, "logits"}, head, last, logits);
    if (config.logit_scale != 1) ops.scale({-1, "logits_scaled"}, logits, config.logit_scale);
    if (config.logit_softcap != 0) ops.softcap({-1, "logits_capped"}, logits, config.logit_softcap);
}

std::vector<WantedWeight> declare_decoder(const ModelConfig& config, const Checkpoint& checkpoint,
                                          const DecoderTraits& traits) {
    Declaration declaration(checkpoint);
    DecoderWeights places;
    visit_decoder(declaration, config, traits, places);
    std::vector<WantedWeight> wanted = declaration.take();
    declare_dense_layers(checkpoint, wanted);
    return wanted;
}

Result<std::unique_ptr<Model>> build_decoder(const ModelConfig& config, const WeightSource& weights,
                                             const DecoderTraits& traits) {
    DecoderWeights parts;
    Filling filling(weights);
    visit_decoder(filling, config, traits, parts);
    return std::make_unique<Decoder>(config, std::move(parts));
}

Result<std::unique_ptr<Model>> build_decoder(const ModelConfig& config, const WeightSource& weights) {
    return build_decoder(config, weights, {});
}

}  // namespace invar
