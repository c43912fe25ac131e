// The decoder that the llama, qwen2, qwen3 and qwen3moe files share: which weights it wants under which names, and its
// forward pass. The parts of a layer are in blocks.cpp.
#include <utility>

#include "models/blocks.h"

namespace invar {
namespace {

struct DecoderWeights {
    WeightMatrix embedding, head;
    WeightVector output_norm;
    std::vector<DecoderLayer> layers;
};

class Decoder final : public Model {
  public:
    Decoder(ModelConfig config, DecoderWeights weights, RopeTable rope)
        : config_(std::move(config)), weights_(std::move(weights)), rope_(std::move(rope)) {}

    Tensor forward(Ops& ops, const Batch& batch, KvCache& cache) const override {
        const int64_t wanted = static_cast<int64_t>(batch.logits_rows.size());
        const Tensor residual = ops.scratch(batch.size(), config_.width);
        const DecoderScratch scratch = take_scratch(ops, config_, batch.size());
        const Tensor last = ops.scratch(wanted, config_.width);
        const Tensor logits = ops.scratch(wanted, config_.vocabulary);

        ops.embed({-1, "embedding"}, weights_.embedding, batch, residual);
        for (int layer = 0; layer < static_cast<int>(weights_.layers.size()); ++layer) {
            const DecoderLayer& weights = weights_.layers[static_cast<size_t>(layer)];
            attention_block(ops, config_, layer, weights.attention, rope_, batch, cache, scratch, residual);
            ffn_block(ops, config_, layer, weights, scratch, residual);
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
    RopeTable rope_;
};

std::optional<WeightVector> optional_vector(const WeightSource& weights, int layer, Role role) {
    if (!weights.has({layer, role})) return std::nullopt;
    return weights.vector({layer, role});
}

AttentionWeights attention_weights(const WeightSource& weights, int layer) {
    return {.norm = weights.vector({layer, Role::attention_norm}),
            .query = weights.matrix({layer, Role::query}),
            .key = weights.matrix({layer, Role::key}),
            .value = weights.matrix({layer, Role::value}),
            .output = weights.matrix({layer, Role::attention_output}),
            .query_bias = optional_vector(weights, layer, Role::query_bias),
            .key_bias = optional_vector(weights, layer, Role::key_bias),
            .value_bias = optional_vector(weights, layer, Role::value_bias),
            .output_bias = optional_vector(weights, layer, Role::attention_output_bias),
            .query_norm = optional_vector(weights, layer, Role::query_norm),
            .key_norm = optional_vector(weights, layer, Role::key_norm)};
}

// Appends wanted weights, with names under "blk.N.".
class Declaration {
  public:
    explicit Declaration(const GgufFile& file) : file_(file) {}

    void layer(int index) { layer_ = index; }
    void vector(Role role, std::string_view name, int64_t size) { add(role, name, WeightShape::vector, {size}); }
    void vector_if_present(Role role, std::string_view name, int64_t size) {
        if (file_.find(tensor_name(name)) != nullptr) vector(role, name, size);
    }
    void matrix(Role role, std::string_view name, int64_t rows, int64_t columns) {
        add(role, name, WeightShape::matrix, {rows, columns});
    }
    void stack(Role role, std::string_view name, int64_t count, int64_t rows, int64_t columns) {
        add(role, name, WeightShape::stack, {count, rows, columns});
    }
    WantedWeight& last() { return wanted_.back(); }
    std::vector<WantedWeight> take() { return std::move(wanted_); }

  private:
    std::string tensor_name(std::string_view name) const {
        return layer_ < 0 ? fmt::format("{}", name) : fmt::format("blk.{}.{}", layer_, name);
    }
    void add(Role role, std::string_view name, WeightShape kind, std::vector<int64_t> shape) {
        wanted_.push_back({.id = {layer_, role},
                           .tensor = tensor_name(name),
                           .kind = kind,
                           .shape = std::move(shape),
                           .alias_of = std::nullopt,
                           .looked_up_by_row = false});
    }

    const GgufFile& file_;
    int layer_ = -1;
    std::vector<WantedWeight> wanted_;
};

void declare_attention(Declaration& declare, const ModelConfig& config, const LayerGeometry& geometry,
                       const DeclareOptions& options) {
    const int64_t query = int64_t{geometry.heads} * geometry.key_width;
    const int64_t key = int64_t{geometry.kv_heads} * geometry.key_width;
    const int64_t value = int64_t{geometry.kv_heads} * geometry.value_width;
    declare.vector(Role::attention_norm, "attn_norm.weight", config.width);
    declare.matrix(Role::query, "attn_q.weight", query, config.width);
    declare.matrix(Role::key, "attn_k.weight", key, config.width);
    declare.matrix(Role::value, "attn_v.weight", value, config.width);
    declare.matrix(Role::attention_output, "attn_output.weight", config.width,
                   int64_t{geometry.heads} * geometry.value_width);
    if (options.attention_biases) {
        declare.vector(Role::query_bias, "attn_q.bias", query);
        declare.vector(Role::key_bias, "attn_k.bias", key);
        declare.vector(Role::value_bias, "attn_v.bias", value);
    } else {
        declare.vector_if_present(Role::query_bias, "attn_q.bias", query);
        declare.vector_if_present(Role::key_bias, "attn_k.bias", key);
        declare.vector_if_present(Role::value_bias, "attn_v.bias", value);
    }
    declare.vector_if_present(Role::attention_output_bias, "attn_output.bias", config.width);
    if (options.head_norms) {
        declare.vector(Role::query_norm, "attn_q_norm.weight", geometry.key_width);
        declare.vector(Role::key_norm, "attn_k_norm.weight", geometry.key_width);
    }
}

void declare_ffn(Declaration& declare, const ModelConfig& config, const LayerGeometry& geometry) {
    const ExpertGeometry& experts = config.experts;
    declare.vector(Role::ffn_norm, "ffn_norm.weight", config.width);
    if (experts.count > 0) {
        declare.matrix(Role::router, "ffn_gate_inp.weight", experts.count, config.width);
        declare.stack(Role::expert_gate, "ffn_gate_exps.weight", experts.count, experts.width, config.width);
        declare.stack(Role::expert_up, "ffn_up_exps.weight", experts.count, experts.width, config.width);
        declare.stack(Role::expert_down, "ffn_down_exps.weight", experts.count, config.width, experts.width);
    } else {
        declare.matrix(Role::gate, "ffn_gate.weight", geometry.ffn_width, config.width);
        declare.matrix(Role::up, "ffn_up.weight", geometry.ffn_width, config.width);
        declare.matrix(Role::down, "ffn_down.weight", config.width, geometry.ffn_width);
    }
}

}  // namespace

std::vector<WantedWeight> declare_decoder(const ModelConfig& config, const GgufFile& file,
                                          const DeclareOptions& options) {
    Declaration declare(file);
    declare.matrix(Role::token_embedding, "token_embd.weight", config.vocabulary, config.width);
    declare.last().looked_up_by_row = true;
    declare.vector(Role::output_norm, "output_norm.weight", config.width);
    declare.matrix(Role::output_head, "output.weight", config.vocabulary, config.width);
    if (file.find("output.weight") == nullptr) declare.last().alias_of = WeightId{-1, Role::token_embedding};
    declare.vector_if_present(Role::rope_frequencies, "rope_freqs.weight", config.rope.rotary_width / 2);
    for (int layer = 0; layer < static_cast<int>(config.layers.size()); ++layer) {
        const LayerGeometry& geometry = config.layers[static_cast<size_t>(layer)];
        declare.layer(layer);
        declare_attention(declare, config, geometry, options);
        declare_ffn(declare, config, geometry);
    }
    return declare.take();
}

Result<std::unique_ptr<Model>> build_decoder(const ModelConfig& config, const WeightSource& weights) {
    DecoderWeights parts{.embedding = weights.matrix({-1, Role::token_embedding}),
                         .head = weights.matrix({-1, Role::output_head}),
                         .output_norm = weights.vector({-1, Role::output_norm}),
                         .layers = {}};
    for (int layer = 0; layer < static_cast<int>(config.layers.size()); ++layer) {
        DecoderLayer built;
        built.attention = attention_weights(weights, layer);
        built.ffn_norm = weights.vector({layer, Role::ffn_norm});
        if (config.experts.count > 0) {
            built.ffn = MixtureFfn{.router = weights.matrix({layer, Role::router}),
                                   .gate = weights.stack({layer, Role::expert_gate}),
                                   .up = weights.stack({layer, Role::expert_up}),
                                   .down = weights.stack({layer, Role::expert_down})};
        } else {
            built.ffn = DenseFfn{.gate = weights.matrix({layer, Role::gate}),
                                 .up = weights.matrix({layer, Role::up}),
                                 .down = weights.matrix({layer, Role::down})};
        }
        parts.layers.push_back(std::move(built));
    }
    RopeSpec rope = config.rope;
    if (weights.has({-1, Role::rope_frequencies})) {
        const WeightVector factors = weights.vector({-1, Role::rope_frequencies});
        if (factors.data != nullptr) rope.frequency_factors.assign(factors.data, factors.data + factors.size);
    }
    if (const auto valid = validate(rope); !valid) {
        return fail("{}: tensor 'rope_freqs.weight': {}", config.name, valid.error().message);
    }
    return std::make_unique<Decoder>(config, std::move(parts), RopeTable(rope));
}

}  // namespace invar
