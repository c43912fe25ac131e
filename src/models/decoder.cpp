// The decoder that the llama, qwen2, qwen3 and qwen3moe files share: the weights it wants, found and filled by visiting
// the list of decoder_weights.h, and its forward pass. The parts of a layer are in blocks.cpp.
#include <utility>

#include "models/decoder_weights.h"
#include "models/hyperparameters.h"
#include "models/tensor_names.h"

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
        const Tensor logits = ops.scratch(wanted, config_.vocabulary);

        ops.embed({-1, "embedding"}, weights_.embedding, batch, residual);
        for (int layer = 0; layer < static_cast<int>(weights_.layers.size()); ++layer) {
            const DecoderLayer& weights = weights_.layers[static_cast<size_t>(layer)];
            const LayerCall call{ops, config_, ropes_, layer, batch, cache, scratch};
            mixer_block(call, weights, residual);
            ffn_block(call, weights, residual);
        }
        if (wanted == 0) return logits;
        ops.gather_rows({-1, "final_rows"}, residual, batch.logits_rows, last);
        ops.rms_norm({-1, "output_norm"}, last, weights_.output_norm, config_.norm_epsilon, last);
        ops.linear({-1, "logits"}, weights_.head, last, logits);
        return logits;
    }

  private:
    ModelConfig config_;
    DecoderWeights weights_;
    std::vector<RopeTable> ropes_;
};

// Lists what is visited as wanted weights, under the names of the checkpoint's dialect.
class Declaration {
  public:
    explicit Declaration(const Checkpoint& checkpoint)
        : checkpoint_(checkpoint), names_(checkpoint), tied_(is_tied()) {}

    Dialect dialect() const { return checkpoint_.dialect(); }
    void layer(int index) { layer_ = index; }

    void vector(const WeightVector&, WeightNames names, int64_t size, VectorOptions options) {
        const bool there = checkpoint_.find(tensor_name(names)) != nullptr;
        if (options.need == Need::never || (options.need == Need::if_present && !there)) return;
        WantedWeight& weight = add(names, WeightShape::vector, {size});
        weight.choices = {{.tensor = tensor_name(names), .order = order_of(options.gguf_order)}};
        weight.gguf.order = options.gguf_order;
    }
    void vector(const std::optional<WeightVector>&, WeightNames names, int64_t size, VectorOptions options) {
        vector(WeightVector(), names, size, options);
    }
    void matrix(const WeightMatrix&, WeightNames names, int64_t rows, int64_t columns, const MatrixOptions& options) {
        add_choices(add(names, WeightShape::matrix, {rows, columns}), names, options);
    }
    void stack(const WeightStack&, WeightNames names, std::vector<int64_t> shape, const MatrixOptions& options) {
        add_choices(add(names, WeightShape::stack, std::move(shape)), names, options);
    }
    std::vector<WantedWeight> take() { return std::move(wanted_); }

  private:
    // The config says whether the head is the embedding; in GGUF files its absence does. Models that also see may say
    // it beside the text model's config, and often have a head of its own then, which counts.
    bool is_tied() const {
        if (dialect() == Dialect::gguf) return false;
        const Hyperparameters keys(checkpoint_);
        if (keys.boolean_or("tied head", false).value_or(false)) return true;
        const bool absent = checkpoint_.find(names_.name(-1, "output.weight", "lm_head.weight", true)) == nullptr;
        return absent && keys.boolean_at_top("tied head", false).value_or(false);
    }
    std::string tensor_name(WeightNames names, bool head = false) const {
        return names_.name(layer_, names.gguf, names.hugging_face, head);
    }
    // Mistral's own files have GGUF's order of rows.
    RowOrder order_of(const RowOrder& gguf) const { return dialect() == Dialect::hugging_face ? RowOrder() : gguf; }
    WantedWeight& add(WeightNames names, WeightShape kind, std::vector<int64_t> shape) {
        wanted_.push_back({.id = {layer_, names.role}, .kind = kind, .shape = std::move(shape)});
        wanted_.back().gguf.tensor = gguf_name(layer_, names.gguf);
        return wanted_.back();
    }
    void add_choices(WantedWeight& weight, WeightNames names, const MatrixOptions& options) {
        weight.looked_up_by_row = options.use == MatrixOptions::Use::table;
        weight.makes_logits = options.use == MatrixOptions::Use::logits;
        weight.head_width = options.head_width;
        const RowOrder order = order_of(options.gguf_order);
        weight.choices = {{.tensor = tensor_name(names, weight.makes_logits), .order = order}};
        weight.gguf.order = options.gguf_order;
        const std::string_view fused = dialect() == Dialect::gguf ? options.gguf_fused : options.hugging_face_fused;
        if (!fused.empty() && dialect() != Dialect::mistral) {
            RowOrder slice = order;
            slice.first += options.fused_row;
            weight.choices.push_back({.tensor = tensor_name({names.role, fused, fused}), .order = slice});
        }
        const bool absent = dialect() == Dialect::gguf ? checkpoint_.find(weight.tensor()) == nullptr : tied_;
        if (!options.alias_of.empty() && absent) weight.alias_of = WeightId{layer_, options.alias_of};
    }

    const Checkpoint& checkpoint_;
    TensorNames names_;
    bool tied_ = false;
    int layer_ = -1;
    std::vector<WantedWeight> wanted_;
};

// Fills what is visited from a source.
class Filling {
  public:
    explicit Filling(const WeightSource& source) : source_(source) {}

    void layer(int index) { layer_ = index; }

    void vector(WeightVector& weight, WeightNames names, int64_t, const VectorOptions&) {
        weight = source_.vector({layer_, names.role});
    }
    void vector(std::optional<WeightVector>& weight, WeightNames names, int64_t, const VectorOptions&) {
        if (source_.has({layer_, names.role})) weight = source_.vector({layer_, names.role});
    }
    void matrix(WeightMatrix& weight, WeightNames names, int64_t, int64_t, const MatrixOptions&) {
        weight = source_.matrix({layer_, names.role});
    }
    void stack(WeightStack& weight, WeightNames names, const std::vector<int64_t>&, const MatrixOptions&) {
        weight = source_.stack({layer_, names.role});
    }

  private:
    const WeightSource& source_;
    int layer_ = -1;
};

}  // namespace

std::vector<WantedWeight> declare_decoder(const ModelConfig& config, const Checkpoint& checkpoint,
                                          const DecoderTraits& traits) {
    Declaration declaration(checkpoint);
    DecoderWeights places;
    visit_decoder(declaration, config, traits, places);
    return declaration.take();
}

Result<std::unique_ptr<Model>> build_decoder(const ModelConfig& config, const WeightSource& weights) {
    DecoderWeights parts;
    Filling filling(weights);
    visit_decoder(filling, config, {}, parts);
    return std::make_unique<Decoder>(config, std::move(parts));
}

}  // namespace invar
