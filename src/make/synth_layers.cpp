// Walks the weights that an architecture declares and adds the tensors of each module in the dialect: see
// synth_layers.h.
#include "make/synth_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "arithmetic/philox.h"
#include "make/synth_headers.h"

namespace invar {
namespace {

// The part of a layer by which formats decide how a matrix is stored.
enum class Part : uint8_t { plain, attention, mlp };

constexpr std::string_view kAttentionRoles[] = {"query",      "key",          "value",       "attention_output",
                                                "query_down", "latent",       "key_up",      "value_up",
                                                "delta_gate", "delta_inputs", "state_inputs"};
constexpr std::string_view kMlpRoles[] = {"gate",        "up",          "down",      "expert_gate", "expert_up",
                                          "expert_down", "shared_gate", "shared_up", "shared_down"};
// Vectors of attention, which stand between its projections and the next part.
constexpr std::string_view kAttentionVectors[] = {"query_bias", "key_bias", "value_bias", "attention_output_bias",
                                                  "query_norm", "key_norm"};

template <class List>
bool is_one_of(std::string_view role, const List& list) {
    return std::find(std::begin(list), std::end(list), role) != std::end(list);
}

// A tensor and the weights whose rows it has, in the order of the model.
struct HeldTensor {
    std::string name;  // "{}" is the number of an expert
    const TensorChoice* choice = nullptr;
    std::vector<const WantedWeight*> weights;

    const WantedWeight& first() const { return *weights.front(); }
    std::string_view role() const { return first().id.role; }
    bool of_each_expert() const { return name.find("{}") != std::string::npos; }
};

std::string module_of(const std::string& tensor) {
    constexpr std::string_view kWeight = ".weight";
    return tensor.ends_with(kWeight) ? tensor.substr(0, tensor.size() - kWeight.size()) : tensor;
}

bool holds_any(std::string_view module, const std::vector<std::string>& parts) {
    return std::any_of(parts.begin(), parts.end(),
                       [&](const std::string& part) { return module.find(part) != std::string_view::npos; });
}

class ModelBuilder {
  public:
    ModelBuilder(const ShapeDocument& shape, const DeclaredShape& declared, const DirectoryFormat& format,
                 uint64_t seed)
        : shape_(shape),
          declared_(declared),
          rules_(shape.rules(dialect_name(format.dialect))),
          seed_(seed),
          bf16_scales_(shape.model_type().starts_with("qwen3")) {
        model_.format = format;
    }

    Result<SynthModel> build() {
        TRY(take_own_form());
        size_t tensors = 0;
        for (const WantedWeight& weight : declared_.wanted)
            tensors += weight.kind == WeightShape::stack ? static_cast<size_t>(weight.shape[0]) : 1;
        model_.tensors.reserve(2 * tensors);
        const auto layers = static_cast<int>(declared_.config.layers.size());
        std::vector<HeldTensor> whole = tensors_of_layer(-1);
        const auto tables = std::stable_partition(
            whole.begin(), whole.end(), [](const HeldTensor& tensor) { return tensor.first().looked_up_by_row; });
        TRY(add_all(std::span(whole).first(static_cast<size_t>(tables - whole.begin()))));
        for (int layer = 0; layer < layers; ++layer) {
            layer_ = layer;
            TRY(add_all(tensors_of_layer(layer)));
            close_attention();
        }
        layer_ = -1;
        model_.ignore.push_back("lm_head");
        TRY(add_all(std::span(whole).subspan(static_cast<size_t>(tables - whole.begin()))));
        for (const TensorsBeside& beside : shape_.beside) add_beside(beside);
        if (!rules_.listed) model_.ignore.clear();
        return std::move(model_);
    }

  private:
    // gpt-oss is published with MXFP4 experts in a form of its own, and plain.
    Result<void> take_own_form() {
        DirectoryFormat& format = model_.format;
        own_form_ = std::any_of(declared_.wanted.begin(), declared_.wanted.end(), [](const WantedWeight& weight) {
            return weight.choices.front().as.transposed == Transposed::where_plain;
        });
        if (!own_form_ || format.dialect == QuantDialect::none) return {};
        if (format.mlp != LinearScheme::mxfp4 || format.attention != LinearScheme::mxfp4) {
            return fail("{} is published with experts in MXFP4, or plain, but not as {}; choose hf-mxfp4 or hf-bf16",
                        shape_.name, format.name);
        }
        format.dialect = QuantDialect::mxfp4;
        format.attention = format.plain;
        return {};
    }

    const TensorChoice& choice_of(const WantedWeight& weight) const {
        const bool fused = shape_.fused_plain_experts && model_.format.mlp == model_.format.plain;
        for (const TensorChoice& choice : weight.choices) {
            if (fused && choice.tensor.find("{}") == std::string::npos) return choice;
        }
        return weight.choices.front();
    }

    std::vector<HeldTensor> tensors_of_layer(int layer) const {
        std::vector<HeldTensor> tensors;
        for (const WantedWeight& weight : declared_.wanted) {
            if (weight.id.layer != layer || weight.alias_of) continue;
            const TensorChoice& choice = choice_of(weight);
            const auto held = std::find_if(tensors.begin(), tensors.end(),
                                           [&](const HeldTensor& one) { return one.name == choice.tensor; });
            if (held == tensors.end()) {
                tensors.push_back({choice.tensor, &choice, {&weight}});
            } else {
                held->weights.push_back(&weight);
            }
        }
        return tensors;
    }

    // The tensors of one expert lie together, those of the next behind them.
    Result<void> add_all(std::span<const HeldTensor> tensors) {
        for (size_t i = 0; i < tensors.size();) {
            size_t end = i;
            while (end < tensors.size() && tensors[end].of_each_expert()) ++end;
            if (end == i) {
                TRY(add_tensor(tensors[i++]));
                continue;
            }
            for (int64_t expert = 0; expert < tensors[i].first().shape[0]; ++expert) {
                for (size_t at = i; at < end; ++at) TRY(add_expert(tensors[at], expert));
            }
            for (; i < end; ++i) add_factors(tensors[i]);
        }
        return {};
    }

    Result<void> add_tensor(const HeldTensor& held) {
        if (!is_one_of(held.role(), kAttentionRoles) && !is_one_of(held.role(), kAttentionVectors)) close_attention();
        if (held.first().kind == WeightShape::vector) {
            add_vector(held);
            return {};
        }
        int64_t count = 0, rows = 0, columns = held.first().shape.back();
        for (const WantedWeight* weight : held.weights) rows += weight->shape[weight->shape.size() - 2];
        const HeldAs& as = held.choice->as;
        if (held.first().kind == WeightShape::stack) count = held.first().shape[0];
        if (as.matrix_rows > 0) {
            if (as.transposed == Transposed::yes) columns = held.first().shape[1];
            rows = count * as.matrix_rows;
            count = 0;
        }
        TRY(add_matrix(held, held.name, count, rows, columns));
        add_factors(held);
        return {};
    }

    Result<void> add_expert(const HeldTensor& held, int64_t expert) {
        close_attention();
        std::string name = held.name;
        name.replace(name.find("{}"), 2, std::to_string(expert));
        return add_matrix(held, name, 0, held.first().shape[1], held.first().shape[2]);
    }

    // `count`: how many matrices the tensor stacks; 0: it is one.
    Result<void> add_matrix(const HeldTensor& held, const std::string& name, int64_t count, int64_t rows,
                            int64_t columns) {
        const std::string module = module_of(name);
        const uint64_t fused = number_of_fused(held.role(), module);
        const LinearScheme scheme = scheme_of(held, module);
        if (scheme == model_.format.plain) {
            const bool product = !held.first().looked_up_by_row && !held.first().makes_logits;
            if (product && model_.format.dialect != QuantDialect::none) model_.ignore.push_back(listed(module));
            const HeldAs& as = held.choice->as;
            if (as.transposed != Transposed::no && as.matrix_rows == 0) std::swap(rows, columns);
            std::vector<int64_t> shape = {rows, columns};
            if (count > 0) shape.insert(shape.begin(), count);
            add({name, plain_dtype(), std::move(shape)}, pool_of(scheme));
            return {};
        }
        const int group = SynthPool::group_of(pool_of(scheme));
        if (columns % group != 0) {
            return fail(
                "{} has rows of {} weights in '{}', which is no multiple of the {} that share a scale in {}; choose "
                "another format",
                shape_.name, columns, module, group, model_.format.name);
        }
        const SynthLinear& linear =
            model_.quantized.emplace_back(SynthLinear{module, rows, columns, next_stream(), fused, scheme, count});
        auto tensors = own_form_ ? tensors_of_own_mxfp4(linear) : tensors_of_linear(linear, scheme, bf16_scales_);
        std::move(tensors.begin(), tensors.end(), std::back_inserter(model_.tensors));
        return {};
    }

    Part part_of(const HeldTensor& held, const std::string& module) const {
        if (layer_ < 0) return Part::plain;
        if (holds_any(module, rules_.plain)) return Part::plain;
        if (holds_any(module, rules_.attention)) return Part::attention;
        if (holds_any(module, rules_.mlp)) return Part::mlp;
        if (is_one_of(held.role(), kAttentionRoles)) return Part::attention;
        return is_one_of(held.role(), kMlpRoles) ? Part::mlp : Part::plain;
    }

    LinearScheme scheme_of(const HeldTensor& held, const std::string& module) const {
        const DirectoryFormat& format = model_.format;
        const Part part = part_of(held, module);
        if (part == Part::mlp) return format.mlp;
        // ModelOpt's searched recipes leave single layers out; the list then has a pattern.
        const bool stays = format.dialect == QuantDialect::modelopt && format.mlp == format.attention && layer_ == 0;
        return part == Part::plain || stays ? format.plain : format.attention;
    }

    // Layers that an engine fuses have the same number: queries, keys and values; gate and up.
    uint64_t number_of_fused(std::string_view role, const std::string& module) {
        if (!is_one_of(role, kAttentionRoles) && !is_one_of(role, kMlpRoles)) return fused_;
        const std::string parent = module.substr(0, module.rfind('.'));
        const bool with_last = parent == last_parent_ && (role == "key" || role == "value" || role == "up" ||
                                                          role == "expert_up" || role == "shared_up");
        if (!with_last) ++fused_;
        last_parent_ = parent;
        if (role == "key" && model_.format.dialect == QuantDialect::modelopt) key_ = module;
        if (role == "value") value_ = module;
        return fused_;
    }

    // Scales of an FP8 cache, which ModelOpt writes behind a layer's attention and an engine may ignore.
    void close_attention() {
        if (!key_.empty() && !value_.empty()) {
            constant(key_ + ".k_scale", 1.0f);
            constant(value_ + ".v_scale", 1.0f);
        }
        key_.clear();
        value_.clear();
    }

    void add_vector(const HeldTensor& held) {
        const std::string_view role = held.role();
        std::vector<int64_t> shape = held.choice->as.shape;
        if (shape.empty()) {
            shape = {0};
            for (const WantedWeight* weight : held.weights) shape[0] += weight->shape[0];
        }
        const bool binary32 = role == "selection_bias";
        // Qwen's FP8 also lists norms among the modules that stay.
        if (model_.format.dialect == QuantDialect::fp8 && layer_ >= 0 && role.ends_with("norm"))
            model_.ignore.push_back(listed(module_of(held.name)));
        add({held.name, binary32 ? Dtype::f32 : plain_dtype(), std::move(shape)},
            binary32 ? PoolKind::f32 : pool_of(model_.format.plain));
        SynthDirectoryTensor& tensor = model_.tensors.back();
        if (is_drawn(role)) return;
        if (is_factor(role)) {
            tensor.fill = SynthFill::factors;
            return;
        }
        tensor.fill = SynthFill::constant;
        tensor.value = held.choice->as.law == VectorLaw::as_stored ? 1.0f : 0.0f;  // 1 + 0; -exp(0)
    }

    // A factor for each expert's result.
    void add_factors(const HeldTensor& held) {
        if (held.choice->factors.empty()) return;
        add({held.choice->factors, plain_dtype(), {held.first().shape[0]}}, pool_of(model_.format.plain));
        model_.tensors.back().fill = SynthFill::pool_scales;
    }

    // Tensors of other senses are never quantised. The file's names differ from the modules' names in the list, as in a
    // checkpoint that was saved under its first names.
    void add_beside(const TensorsBeside& beside) {
        for (int layer = 0; layer < std::max(1, beside.layers); ++layer) {
            for (const auto& [pattern, shape] : beside.tensors) {
                const size_t place = pattern.find("{}");
                std::string name = pattern;
                if (place != std::string::npos) name.replace(place, 2, std::to_string(layer));
                if (shape.size() == 2) model_.ignore.push_back("model." + module_of(name));
                add({name, Dtype::bf16, shape}, PoolKind::bf16);
                if (shape.size() == 1) model_.tensors.back().fill = SynthFill::constant;
            }
        }
    }

    static std::string listed(const std::string& module) {
        constexpr std::string_view kRoot = "language_model.";
        return module.starts_with(kRoot) ? module.substr(kRoot.size()) : module;
    }
    Dtype plain_dtype() const {
        return model_.format.plain == LinearScheme::f32   ? Dtype::f32
               : model_.format.plain == LinearScheme::f16 ? Dtype::f16
                                                          : Dtype::bf16;
    }
    void add(SafeTensorsDeclaration declaration, PoolKind pool) {
        model_.tensors.push_back({.declaration = std::move(declaration), .pool = pool, .stream = next_stream()});
    }
    void constant(const std::string& name, float value) {
        add({name, Dtype::f32, {}}, PoolKind::f32);
        model_.tensors.back().fill = SynthFill::constant;
        model_.tensors.back().value = value;
    }
    uint64_t next_stream() { return seed_ << 32 ^ ++streams_; }

    const ShapeDocument& shape_;
    const DeclaredShape& declared_;
    DialectRules rules_;
    uint64_t seed_;
    bool bf16_scales_;
    bool own_form_ = false;
    int layer_ = -1;
    uint64_t streams_ = 0, fused_ = 0;  // numbers given out
    std::string last_parent_, key_, value_;
    SynthModel model_;
};

// The names that an architecture asks for before it lists its weights.
std::vector<SafeTensorsDeclaration> present_tensors(const ShapeDocument& shape) {
    constexpr std::string_view kWidth = "hidden_size";
    std::vector<SafeTensorsDeclaration> tensors = {
        {shape.embedding, Dtype::bf16, {shape.vocabulary(), shape.text().at(kWidth).get<int64_t>()}}};
    std::string_view body = shape.embedding;
    for (const std::string_view own : {"embed_tokens.weight", "embeddings.weight"}) {
        if (body.ends_with(own)) body.remove_suffix(own.size());
    }
    for (int layer = 0; layer < shape.layers(); ++layer) {
        for (const auto& [name, dimensions] : shape.present)
            tensors.push_back({fmt::format("{}layers.{}.{}", body, layer, name), Dtype::bf16, dimensions});
    }
    return tensors;
}

}  // namespace

bool is_drawn(std::string_view role) {
    return role.ends_with("bias") || role.ends_with("convolution") || role == "sinks";
}

bool is_factor(std::string_view role) { return role == "router_scale" || role == "layer_scalar"; }

float synth_factor(uint64_t stream, uint64_t i) { return 0.75f + 0.5f * law::uniform(stream, i, 3); }

Result<DeclaredShape> declare_shape(const ShapeDocument& shape) {
    const std::vector<SafeTensorsDeclaration> present = present_tensors(shape);
    TRY_ASSIGN(const ModelInMemory model,
               directory_in_memory(shape.name, {{"config.json", shape.config.dump()}}, present, nullptr));
    TRY_ASSIGN(const Architecture* architecture, find_architecture(model.checkpoint));
    DeclaredShape declared{.architecture = architecture};
    TRY_ASSIGN(declared.config, architecture->read_config(model.checkpoint));
    declared.wanted = architecture->declare(declared.config, model.checkpoint);
    return declared;
}

Result<SynthModel> synth_model(const ShapeDocument& shape, const DirectoryFormat& format, uint64_t seed) {
    TRY_ASSIGN(const DeclaredShape declared, declare_shape(shape));
    return ModelBuilder(shape, declared, format, seed).build();
}

}  // namespace invar
