// Walks the layers of a shape and adds the tensors of each module in the dialect: see synth_layers.h.
#include "make/synth_layers.h"

#include <fmt/format.h>

#include <algorithm>

#include "make/synth_documents.h"
#include "make/synth_gemma4.h"

namespace invar {
namespace {

class ModelBuilder {
  public:
    ModelBuilder(const SynthShape& shape, const DirectoryFormat& format, uint64_t seed, SynthPools& pools)
        : shape_(shape), format_(format), seed_(seed), pools_(pools) {
        if (shape.family == "mistral3") prefix_ = "language_model.";
    }

    SynthModel build(int layers) {
        plain("model.embed_tokens", {shape_.vocabulary, shape_.width});
        for (int layer = 0; layer < layers; ++layer) {
            const std::string at = fmt::format("model.layers.{}.", layer);
            shape_.is_gemma4() ? add_gemma4_layer(gemma4_slides(layer, layers), at) : add_layer(layer, at);
        }
        norm("model.norm", shape_.width);
        model_.ignore.push_back("lm_head");
        if (!shape_.tied) plain("lm_head", {shape_.vocabulary, shape_.width});
        if (shape_.family == "mistral3") add_vision(synth_vision_layers(layers));
        return std::move(model_);
    }

  private:
    void add_layer(int layer, const std::string& at) {
        const int64_t query = int64_t{shape_.heads} * shape_.head_width;
        const int64_t key = int64_t{shape_.kv_heads} * shape_.head_width;
        listed_norm(at + "input_layernorm", shape_.width);
        // ModelOpt's searched recipes leave single layers out; the list then has a pattern.
        const bool stays = format_.dialect == QuantDialect::modelopt && format_.mlp == format_.attention && layer == 0;
        const LinearScheme scheme = stays ? format_.plain : format_.attention;
        const uint64_t fused = ++fused_;
        linear(at + "self_attn.q_proj", query, shape_.width, scheme, fused);
        linear(at + "self_attn.k_proj", key, shape_.width, scheme, fused);
        linear(at + "self_attn.v_proj", key, shape_.width, scheme, fused);
        linear(at + "self_attn.o_proj", shape_.width, query, scheme, ++fused_);
        if (shape_.family == "qwen2") {
            for (const auto& [name, rows] : {std::pair{"q", query}, {"k", key}, {"v", key}}) {
                vector(fmt::format("{}self_attn.{}_proj.bias", at, name), rows);
            }
        }
        if (shape_.family.starts_with("qwen3")) {
            listed_norm(at + "self_attn.q_norm", shape_.head_width);
            listed_norm(at + "self_attn.k_norm", shape_.head_width);
        }
        if (format_.dialect == QuantDialect::modelopt) {  // scales of an FP8 cache, which an engine may ignore
            constant(at + "self_attn.k_proj.k_scale", 1.0f);
            constant(at + "self_attn.v_proj.v_scale", 1.0f);
        }
        listed_norm(at + "post_attention_layernorm", shape_.width);
        add_feed_forward(at);
    }

    // Norms around attention, the dense part and the experts; layers without a window have no projection of values.
    void add_gemma4_layer(bool slides, const std::string& at) {
        const int64_t head = gemma4_head_width(shape_, slides), key = gemma4_kv_heads(shape_, slides) * head;
        const int64_t query = shape_.heads * head;
        const uint64_t fused = ++fused_;
        linear(at + "self_attn.q_proj", query, shape_.width, format_.attention, fused);
        linear(at + "self_attn.k_proj", key, shape_.width, format_.attention, fused);
        if (slides) linear(at + "self_attn.v_proj", key, shape_.width, format_.attention, fused);
        linear(at + "self_attn.o_proj", shape_.width, query, format_.attention, ++fused_);
        listed_norm(at + "self_attn.q_norm", head);
        listed_norm(at + "self_attn.k_norm", head);
        for (const char* name :
             {"input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm",
              "post_feedforward_layernorm_1", "pre_feedforward_layernorm_2", "post_feedforward_layernorm_2"}) {
            listed_norm(at + name, shape_.width);
        }
        add_mlp(at + "mlp.", "gate_proj", "up_proj", "down_proj", shape_.ffn_width);
        model_.ignore.push_back(at + "router.proj");
        plain(at + "router.proj", {shape_.experts, shape_.width});
        ones(at + "router.scale", shape_.width);
        ones(at + "router.per_expert_scale", shape_.experts);
        ones(at + "layer_scalar", 1);
        add_gemma4_experts(at + "experts.");
    }

    // Experts that are not quantised are one tensor; each quantised one has its own.
    void add_gemma4_experts(const std::string& at) {
        if (format_.mlp != format_.plain) {
            for (int expert = 0; expert < shape_.experts; ++expert)
                add_mlp(fmt::format("{}{}.", at, expert), "gate_proj", "up_proj", "down_proj", shape_.expert_width);
            return;
        }
        const int64_t experts = shape_.experts, inner = shape_.expert_width;
        add({at + "gate_up_proj", plain_dtype(), {experts, 2 * inner, shape_.width}}, pool_of(format_.plain));
        add({at + "down_proj", plain_dtype(), {experts, shape_.width, inner}}, pool_of(format_.plain));
    }

    void add_feed_forward(const std::string& at) {
        if (shape_.experts == 0) return add_mlp(at + "mlp.", "gate_proj", "up_proj", "down_proj", shape_.ffn_width);
        const bool mixtral = shape_.family == "mixtral";
        const std::string block = at + (mixtral ? "block_sparse_moe." : "mlp.");
        model_.ignore.push_back(block + "gate");
        plain(block + "gate", {shape_.experts, shape_.width});
        for (int expert = 0; expert < shape_.experts; ++expert) {
            const std::string name = fmt::format("{}experts.{}.", block, expert);
            if (mixtral) {
                add_mlp(name, "w1", "w3", "w2", shape_.expert_width);
            } else {
                add_mlp(name, "gate_proj", "up_proj", "down_proj", shape_.expert_width);
            }
        }
    }

    void add_mlp(const std::string& at, const char* gate, const char* up, const char* down, int64_t width) {
        const uint64_t fused = ++fused_;
        linear(at + gate, width, shape_.width, format_.mlp, fused);
        linear(at + up, width, shape_.width, format_.mlp, fused);
        linear(at + down, shape_.width, width, format_.mlp, ++fused_);
    }

    // Pixtral's tower and the projector, as Mistral-Small has them: never quantised. The file's names differ from the
    // modules' names in the ignore list, as in a checkpoint that was saved under its first names.
    void add_vision(int layers) {
        constexpr int64_t kWidth = 1024, kInner = 4096;
        const auto matrix = [&](const std::string& module, int64_t rows, int64_t columns) {
            model_.ignore.push_back("model." + module);
            add({module + ".weight", Dtype::bf16, {rows, columns}}, PoolKind::bf16);
        };
        const auto ones = [&](const std::string& module) {
            add({module + ".weight", Dtype::bf16, {kWidth}}, PoolKind::bf16);
            model_.tensors.back().fill = SynthFill::ones;
        };
        add({"vision_tower.patch_conv.weight", Dtype::bf16, {kWidth, 3, 14, 14}}, PoolKind::bf16);
        ones("vision_tower.ln_pre");
        for (int layer = 0; layer < layers; ++layer) {
            const std::string at = fmt::format("vision_tower.transformer.layers.{}.", layer);
            ones(at + "attention_norm");
            ones(at + "ffn_norm");
            for (const char* name : {"q", "k", "v", "o"}) {
                matrix(fmt::format("{}attention.{}_proj", at, name), kWidth, kWidth);
            }
            matrix(at + "feed_forward.gate_proj", kInner, kWidth);
            matrix(at + "feed_forward.up_proj", kInner, kWidth);
            matrix(at + "feed_forward.down_proj", kWidth, kInner);
        }
        ones("multi_modal_projector.norm");
        matrix("multi_modal_projector.patch_merger.merging_layer", kWidth, 4 * kWidth);
        matrix("multi_modal_projector.linear_1", shape_.width, kWidth);
        matrix("multi_modal_projector.linear_2", shape_.width, shape_.width);
    }

    void linear(const std::string& module, int64_t rows, int64_t columns, LinearScheme scheme, uint64_t fused) {
        const SynthLinear layer{prefix_ + module, rows, columns, next_stream(), fused};
        const bool quantized = scheme != format_.plain;
        if (quantized) model_.quantized.push_back(layer);
        if (!quantized && format_.dialect != QuantDialect::none) model_.ignore.push_back(module);
        auto tensors =
            tensors_of_linear(layer, scheme, shape_.architecture.starts_with("qwen3"), pools_.of(pool_of(scheme)));
        std::move(tensors.begin(), tensors.end(), std::back_inserter(model_.tensors));
    }

    Dtype plain_dtype() const {
        return format_.plain == LinearScheme::f32   ? Dtype::f32
               : format_.plain == LinearScheme::f16 ? Dtype::f16
                                                    : Dtype::bf16;
    }
    void add(SafeTensorsDeclaration declaration, PoolKind pool) {
        model_.tensors.push_back({.declaration = std::move(declaration), .pool = pool, .stream = next_stream()});
    }
    void plain(const std::string& module, std::vector<int64_t> shape) {
        add({prefix_ + module + ".weight", plain_dtype(), std::move(shape)}, pool_of(format_.plain));
    }
    void vector(const std::string& name, int64_t length) {
        add({prefix_ + name, plain_dtype(), {length}}, pool_of(format_.plain));
    }
    void norm(const std::string& module, int64_t length) { ones(module + ".weight", length); }
    void ones(const std::string& name, int64_t length) {
        vector(name, length);
        model_.tensors.back().fill = SynthFill::ones;
    }
    // Qwen's FP8 also lists norms among the modules that stay.
    void listed_norm(const std::string& module, int64_t length) {
        if (format_.dialect == QuantDialect::fp8) model_.ignore.push_back(module);
        norm(module, length);
    }
    void constant(const std::string& name, float value) {
        add({prefix_ + name, Dtype::f32, {}}, PoolKind::f32);
        model_.tensors.back().fill = SynthFill::constant;
        model_.tensors.back().value = value;
    }
    uint64_t next_stream() { return seed_ << 32 ^ ++streams_; }

    const SynthShape& shape_;
    const DirectoryFormat& format_;
    uint64_t seed_;
    SynthPools& pools_;
    std::string prefix_;
    uint64_t streams_ = 0, fused_ = 0;  // numbers given out
    SynthModel model_;
};

}  // namespace

SynthModel synth_model(const SynthShape& shape, int layers, const DirectoryFormat& format, uint64_t seed,
                       SynthPools& pools) {
    return ModelBuilder(shape, format, seed, pools).build(layers);
}

}  // namespace invar
