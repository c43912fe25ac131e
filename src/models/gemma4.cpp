// Architecture "gemma4": Gemma 4, text: dense, with a mixture of experts, or with inputs of its own for each layer
// (E2B, E4B).
//
// A layer, with r for the residual stream and norm(x; w) for RMSNorm (w as stored, unlike Gemma 3's):
//   r = r + norm(attention(norm(r)))       queries and keys are normalised per head by weights, values without; no
//   scale r = r + norm(ffn(norm(r)))             dense r = r + norm(norm(dense(norm(r))) + norm(experts(norm(r)))) with
//   experts, six norms r = r + norm(out . (gelu(gate . r) * input[layer]))             with inputs for each layer r = r
//   * the layer's scalar
// The router reads norm(r) without a weight, times router.scale and width^-0.5; softmax over all experts, the best k
// renormalised, each times its expert's factor, which is folded into the expert's last matrix (HeldAs::factors).
// input = (norm(projection . h * width^-0.5) + table[token] * root(per-layer width)) * 2^-0.5, cut into layers, where h
// is the scaled embedding.
#include <cmath>
#include <utility>

#include "models/architectures.h"
#include "models/gemma4_config.h"
#include "models/gemma_config.h"
#include "models/weight_visitors.h"

namespace invar {
namespace {

// What a layer has beside the parts of every decoder.
struct Gemma4Layer {
    StreamNorm dense_post_norm, expert_norm, expert_post_norm, router_norm;
    WeightMatrix input_gate, input_projection;
    StreamNorm input_post_norm;
    WeightVector scalar;
};

struct Gemma4Weights {
    DecoderWeights decoder;
    WeightMatrix input_table, input_projection;
    WeightVector input_norm;
    std::vector<Gemma4Layer> layers;
};

DecoderTraits traits() {
    DecoderTraits traits{.head_norms = true, .norms = gemma_norms()};
    traits.expert_factors = {"expert_factors", "ffn_down_exps.scale", "router.per_expert_scale"};
    MixtureNames& names = traits.mixture;
    names.router = "router.proj.weight";
    names.gate = "experts.{}.gate_proj.weight";
    names.up = "experts.{}.up_proj.weight";
    names.down = "experts.{}.down_proj.weight";
    names.fused = "experts.gate_up_proj";
    names.down_fused = "experts.down_proj";
    names.shared = {{"shared_gate", "ffn_gate.weight", "mlp.gate_proj.weight"},
                    {"shared_up", "ffn_up.weight", "mlp.up_proj.weight"},
                    {"shared_down", "ffn_down.weight", "mlp.down_proj.weight"}};
    return traits;
}

template <class Visitor>
void visit_own_layer(Visitor& visit, const ModelConfig& config, const LayerSpec& spec, Gemma4Layer& layer) {
    const int64_t width = config.width, inputs = config.per_layer_width;
    const auto norm = [&](StreamNorm& place, WeightNames names) { visit.vector(place.weight, names, width, {}); };
    if (spec.mixture() != nullptr) {
        norm(layer.dense_post_norm,
             {"dense_post_norm", "post_ffw_norm_1.weight", "post_feedforward_layernorm_1.weight"});
        norm(layer.expert_norm, {"expert_norm", "pre_ffw_norm_2.weight", "pre_feedforward_layernorm_2.weight"});
        norm(layer.expert_post_norm,
             {"expert_post_norm", "post_ffw_norm_2.weight", "post_feedforward_layernorm_2.weight"});
        norm(layer.router_norm, {"router_scale", "ffn_gate_inp.scale", "router.scale"});
    }
    if (inputs > 0) {
        visit.matrix(layer.input_gate, {"input_gate", "inp_gate.weight", "per_layer_input_gate.weight"}, inputs, width,
                     {});
        visit.matrix(layer.input_projection, {"input_projection", "proj.weight", "per_layer_projection.weight"}, width,
                     inputs, {});
        norm(layer.input_post_norm, {"input_post_norm", "post_norm.weight", "post_per_layer_input_norm.weight"});
    }
    visit.vector(layer.scalar, {"layer_scalar", "layer_output_scale.weight", "layer_scalar"}, 1, {});
}

template <class Visitor>
void visit_gemma4(Visitor& visit, const ModelConfig& config, Gemma4Weights& weights) {
    visit_decoder(visit, config, traits(), weights.decoder);
    const int64_t inputs = config.per_layer_width, all = inputs * static_cast<int64_t>(config.layers.size());
    visit.layer(-1);
    if (inputs > 0) {
        visit.matrix(weights.input_table,
                     {"input_table", "per_layer_token_embd.weight", "embed_tokens_per_layer.weight"}, config.vocabulary,
                     all, {.use = MatrixOptions::Use::table});
        visit.matrix(weights.input_projection,
                     {"input_projection", "per_layer_model_proj.weight", "per_layer_model_projection.weight"}, all,
                     config.width, {});
        visit.vector(weights.input_norm,
                     {"input_norm", "per_layer_proj_norm.weight", "per_layer_projection_norm.weight"}, inputs, {});
    }
    weights.layers.resize(config.layers.size());
    for (size_t i = 0; i < config.layers.size(); ++i) {
        visit.layer(static_cast<int>(i));
        visit_own_layer(visit, config, config.layers[i], weights.layers[i]);
    }
}

float inverse_root(int64_t x) { return 1.0f / std::sqrt(static_cast<float>(x)); }

class Gemma4 final : public Model {
  public:
    Gemma4(ModelConfig config, Gemma4Weights weights) : config_(std::move(config)), weights_(std::move(weights)) {
        for (const RopeSpec& rope : config_.ropes) ropes_.emplace_back(rope);
    }

    Tensor forward(Ops& ops, const Batch& batch, SequenceState& cache) const override {
        const int64_t rows = batch.size(), wanted = static_cast<int64_t>(batch.logits_rows.size());
        const Tensor residual = ops.scratch(rows, config_.width);
        const DecoderScratch scratch = take_scratch(ops, config_, rows);
        const Own own = take_own(ops, rows);
        const Tensor last = ops.scratch(wanted, config_.width);
        const Tensor logits = ops.scratch(wanted, config_.vocabulary);

        ops.embed({-1, "embedding"}, weights_.decoder.embedding, batch, residual);
        ops.scale({-1, "embedding_scaled"}, residual, config_.embedding_scale);
        if (config_.per_layer_width > 0) layer_inputs(ops, batch, residual, own);
        for (int layer = 0; layer < static_cast<int>(weights_.layers.size()); ++layer) {
            const DecoderLayer& parts = weights_.decoder.layers[static_cast<size_t>(layer)];
            const Gemma4Layer& more = weights_.layers[static_cast<size_t>(layer)];
            const LayerCall call{ops, config_, ropes_, layer, batch, cache, scratch};
            mixer_block(call, parts, residual);
            if (call.spec().mixture() != nullptr) {
                mixture_block(call, parts, more, own, residual);
            } else {
                ffn_block(call, parts, residual);
            }
            if (config_.per_layer_width > 0) input_block(call, more, own, residual);
            ops.multiply({layer, "layer_scaled"}, residual, more.scalar);
        }
        if (wanted == 0) return logits;
        const LayerCall whole{ops, config_, ropes_, -1, batch, cache, scratch};
        ops.gather_rows({-1, "final_rows"}, residual, batch.logits_rows, last);
        run_norm(whole, "output_norm", last, weights_.decoder.output_norm, last);
        make_logits(ops, config_, weights_.decoder.head, last, logits);
        return logits;
    }

  private:
    // Scratch that the shared parts have no use for.
    struct Own {
        Tensor router;      // [rows, width], what the router reads
        Tensor inputs;      // [rows, layers * per-layer width]
        Tensor from_table;  // likewise
        Tensor gate;        // [rows, per-layer width]
    };

    Own take_own(Ops& ops, int64_t rows) const {
        Own own;
        if (config_.most_experts() > 0) own.router = ops.scratch(rows, config_.width);
        if (config_.per_layer_width == 0) return own;
        const int64_t all = config_.per_layer_width * static_cast<int64_t>(config_.layers.size());
        own.inputs = ops.scratch(rows, all);
        own.from_table = ops.scratch(rows, all);
        own.gate = ops.scratch(rows, config_.per_layer_width);
        return own;
    }

    // own.inputs = the inputs of all layers
    void layer_inputs(Ops& ops, const Batch& batch, Tensor embedding, const Own& own) const {
        ops.embed({-1, "input_embedding"}, weights_.input_table, batch, own.from_table);
        ops.scale({-1, "input_embedding_scaled"}, own.from_table,
                  std::sqrt(static_cast<float>(config_.per_layer_width)));
        ops.linear({-1, "input_projection"}, weights_.input_projection, embedding, own.inputs);
        ops.scale({-1, "input_projection_scaled"}, own.inputs, inverse_root(config_.width));
        ops.rms_norm({-1, "input_norm"}, own.inputs, weights_.input_norm, config_.norm_epsilon, own.inputs);
        ops.add({-1, "input_sum"}, own.inputs, own.from_table);
        ops.scale({-1, "input_sum_scaled"}, own.inputs, inverse_root(2));
    }

    void mixture_block(const LayerCall& call, const DecoderLayer& parts, const Gemma4Layer& more, const Own& own,
                       Tensor residual) const {
        Ops& ops = call.ops;
        const int layer = call.layer;
        const DecoderScratch& scratch = call.scratch;
        const MixtureFfn& weights = std::get<MixtureFfn>(parts.ffn);
        MixtureGeometry experts = *call.spec().mixture();
        const DenseGeometry dense{.width = std::exchange(experts.shared_width, 0), .activation = experts.activation};

        run_norm(call, "ffn_norm", residual, parts.ffn_norm, scratch.normed);
        run_ffn(call, dense, weights.shared);
        run_norm(call, "dense_post_norm", scratch.branch, more.dense_post_norm, scratch.shared);
        run_norm(call, "router_norm", residual, more.router_norm, own.router);
        ops.scale({layer, "router_input"}, own.router, inverse_root(config_.width));
        run_norm(call, "expert_norm", residual, more.expert_norm, scratch.normed);
        run_ffn(call, experts, weights, own.router);
        run_norm(call, "expert_post_norm", scratch.branch, more.expert_post_norm, scratch.branch);
        ops.add({layer, "dense_and_experts"}, scratch.branch, scratch.shared);
        run_norm(call, "ffn_post_norm", scratch.branch, parts.ffn_post_norm, scratch.branch);
        ops.add({layer, "residual_after_ffn"}, residual, scratch.branch);
    }

    void input_block(const LayerCall& call, const Gemma4Layer& more, const Own& own, Tensor residual) const {
        Ops& ops = call.ops;
        const int layer = call.layer;
        const int64_t width = config_.per_layer_width;
        ops.linear({layer, "input_gate"}, more.input_gate, residual, own.gate);
        ops.activate({layer, "input_gated"}, {.kind = Activation::gelu_tanh}, own.gate,
                     own.inputs.columns(layer * width, width), own.gate);
        ops.linear({layer, "input_branch"}, more.input_projection, own.gate, call.scratch.branch);
        run_norm(call, "input_post_norm", call.scratch.branch, more.input_post_norm, call.scratch.branch);
        ops.add({layer, "residual_after_input"}, residual, call.scratch.branch);
    }

    ModelConfig config_;
    Gemma4Weights weights_;
    std::vector<RopeTable> ropes_;
};

std::vector<WantedWeight> declare(const ModelConfig& config, const Checkpoint& checkpoint) {
    Declaration declaration(checkpoint);
    Gemma4Weights places;
    visit_gemma4(declaration, config, places);
    return declaration.take();
}

Result<std::unique_ptr<Model>> build(const ModelConfig& config, const WeightSource& weights) {
    Gemma4Weights parts;
    Filling filling(weights);
    visit_gemma4(filling, config, parts);
    return std::make_unique<Gemma4>(config, std::move(parts));
}

}  // namespace

const Architecture kGemma4Architecture{.name = "gemma4",
                                       .summary = "Gemma 4, text: dense, mixture of experts, E2B and E4B",
                                       .model_types = {"gemma4_text"},
                                       .read_config = read_gemma4_config,
                                       .declare = declare,
                                       .build = build};

}  // namespace invar
