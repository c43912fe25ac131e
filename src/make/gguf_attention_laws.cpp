// How GGUF expresses attention and ropes: see gguf_quantity_laws.h.
#include <algorithm>

#include "make/gguf_quantity_laws.h"

namespace invar {
namespace {

using Value = GgufLawValue;

// Layers without attention have the heads of those with it, because no program that reads the key allows a 0.
Value heads(const DescribedModel& model) {
    const int64_t otherwise = model.full != nullptr     ? model.full->heads
                              : model.latent != nullptr ? model.latent->heads
                                                        : model.keys.integer("heads", 1, INT32_MAX).value_or(1);
    return for_each_layer(model, [&](const LayerSpec& layer) -> int64_t {
        return layer.attention() != nullptr ? layer.attention()->heads : otherwise;
    });
}

// Latent attention caches one key for all heads. A gated delta net is said by "recurrent layers"; other layers without
// attention are said by 0 here.
Value kv_heads(const DescribedModel& model) {
    return for_each_layer(model, [&](const LayerSpec& layer) -> int64_t {
        if (layer.latent() != nullptr) return 1;
        if (layer.attention() != nullptr) return layer.attention()->kv_heads;
        return layer.delta() != nullptr && model.full != nullptr ? model.full->kv_heads : 0;
    });
}

Value key_width(const DescribedModel& model) {
    if (model.latent != nullptr) return int64_t{model.latent->latent} + model.latent->rope_width;
    return model.full != nullptr ? Value(int64_t{model.full->key_width}) : std::nullopt;
}
Value value_width(const DescribedModel& model) {
    if (model.latent != nullptr) return int64_t{model.latent->latent};
    return model.full != nullptr ? Value(int64_t{model.full->value_width}) : std::nullopt;
}
Value local_key_width(const DescribedModel& model) {
    return model.local != nullptr ? Value(int64_t{model.local->key_width}) : std::nullopt;
}
Value local_value_width(const DescribedModel& model) {
    return model.local != nullptr ? Value(int64_t{model.local->value_width}) : std::nullopt;
}
Value window(const DescribedModel& model) {
    return model.local != nullptr ? Value(int64_t{model.local->window}) : std::nullopt;
}
Value window_pattern(const DescribedModel& model) {
    if (model.local == nullptr) return std::nullopt;
    return whether_each_layer(
        model, [](const LayerSpec& layer) { return layer.attention() != nullptr && layer.attention()->window > 0; });
}
Value score_softcap(const DescribedModel& model) {
    return model.full != nullptr && model.full->softcap > 0 ? Value(double{model.full->softcap}) : std::nullopt;
}
Value score_scale(const DescribedModel& model) {
    return model.full != nullptr ? Value(double{model.full->scale}) : std::nullopt;
}
Value causal(const DescribedModel& model) {
    const bool both = model.full != nullptr && model.full->reach == Reach::both_ways;
    return both ? Value(false) : std::nullopt;
}
Value query_temperature(const DescribedModel& model) {
    // Llama 4 counts from the next position and has no key.
    const bool scaled =
        model.full != nullptr && model.full->temperature.beta != 0 && model.full->temperature.offset == 0;
    return scaled ? Value(double{model.full->temperature.beta}) : std::nullopt;
}
Value sharing_layers(const DescribedModel& model) {
    return int64_t{std::count_if(model.config.layers.begin(), model.config.layers.end(), [](const LayerSpec& layer) {
        return layer.attention() != nullptr && layer.attention()->shares >= 0;
    })};
}
// Both parts of a key.
Value latent_key_width(const DescribedModel& model) {
    if (model.latent == nullptr) return std::nullopt;
    return int64_t{model.latent->plain_width} + model.latent->rope_width;
}
Value latent_value_width(const DescribedModel& model) {
    return model.latent != nullptr ? Value(int64_t{model.latent->value_width}) : std::nullopt;
}
Value query_rank(const DescribedModel& model) {
    const bool two = model.latent != nullptr && model.latent->query_rank > 0;
    return two ? Value(int64_t{model.latent->query_rank}) : std::nullopt;
}

Value rope_width(const DescribedModel& model) {
    return model.rope != nullptr ? Value(int64_t{model.rope->rotary_width}) : std::nullopt;
}
Value local_rope_width(const DescribedModel& model) {
    return model.local_rope != nullptr ? Value(int64_t{model.local_rope->rotary_width}) : std::nullopt;
}
Value rope_base(const DescribedModel& model) { return model.rope != nullptr ? Value(model.rope->base) : std::nullopt; }
Value local_rope_base(const DescribedModel& model) {
    return model.local_rope != nullptr ? Value(model.local_rope->base) : std::nullopt;
}
// Llama 3's scaling, LongRoPE and pairs that do not turn are tensors (gguf_rope_tensors()).
Value rope_scaling(const DescribedModel& model) {
    if (model.rope == nullptr || model.rope->scaling == RopeSpec::Scaling::none) return std::nullopt;
    return std::string(model.rope->scaling == RopeSpec::Scaling::yarn ? "yarn" : "linear");
}
Value rope_factor(const DescribedModel& model) {
    if (model.rope == nullptr || model.rope->scaling == RopeSpec::Scaling::none) return std::nullopt;
    return model.rope->factor;
}
Value rope_original_context(const DescribedModel& model) {
    if (model.rope == nullptr || model.rope->original_context == 0) return std::nullopt;
    return static_cast<int64_t>(model.rope->original_context);
}
bool is_yarn(const DescribedModel& model) {
    return model.rope != nullptr && model.rope->scaling == RopeSpec::Scaling::yarn;
}
Value yarn_beta_fast(const DescribedModel& model) {
    return is_yarn(model) ? Value(model.rope->beta_fast) : std::nullopt;
}
Value yarn_beta_slow(const DescribedModel& model) {
    return is_yarn(model) ? Value(model.rope->beta_slow) : std::nullopt;
}
Value yarn_extrapolation(const DescribedModel& model) {
    return is_yarn(model) && model.rope->ext_factor != 1 ? Value(model.rope->ext_factor) : std::nullopt;
}
// mscale_all_dim; a tenth of it in files of models with latent attention.
Value yarn_scale(const DescribedModel& model) {
    const double all = model.keys.positive_or("yarn scale of all", 0).value_or(0);
    if (!is_yarn(model) || all == 0) return std::nullopt;
    return model.latent != nullptr ? 0.1 * all : all;
}
// The factor beside the paper's; of OLMo the whole factor. With "yarn scale" both follow from that.
Value yarn_attention_factor(const DescribedModel& model) {
    if (!is_yarn(model) || yarn_scale(model)) return std::nullopt;
    const double whole = model.rope->attn_factor * yarn_attention(model.rope->factor, 1.0);
    if (model.config.architecture == "olmo2") return whole;
    return model.rope->attn_factor != 1 ? Value(model.rope->attn_factor) : std::nullopt;
}
Value long_rope_attention(const DescribedModel& model) {
    const bool is_long = model.rope != nullptr && !model.rope->long_factors.empty();
    return is_long ? Value(model.rope->attn_factor) : std::nullopt;
}
// Stated only where no layer rotates positions.
Value rope_trained(const DescribedModel& model) {
    const bool none = model.full != nullptr && model.config.ropes.empty();
    const bool unused =
        model.full != nullptr && model.full->rope < 0 && (model.local == nullptr || model.local->rope < 0);
    return none || unused ? Value(false) : std::nullopt;
}
// Four numbers of pairs; a model that states none has all pairs in the first.
Value rope_sections(const DescribedModel& model) {
    if (model.rope == nullptr) return std::nullopt;
    std::vector<int64_t> sections;
    if (model.keys.stated("rope sections") != nullptr)
        sections = model.keys.integers("rope sections", 0, model.rope->pairs()).value_or(sections);
    if (sections.empty() || sections.size() > 4) sections = {model.rope->pairs()};
    sections.resize(4);
    return sections;
}

constexpr GgufLaw kAttentionLaws[] = {
    {"heads", heads},
    {"KV heads", kv_heads},
    {"key width", key_width},
    {"value width", value_width},
    {"full key width", key_width},
    {"full value width", value_width},
    {"local key width", local_key_width},
    {"local value width", local_value_width},
    {"window", window},
    {"window pattern", window_pattern},
    {"score softcap", score_softcap},
    {"score scale", score_scale},
    {"causal attention", causal},
    {"query temperature", query_temperature},
    {"layers that share keys", sharing_layers},
    {"latent key width", latent_key_width},
    {"latent value width", latent_value_width},
    {"query rank", query_rank},
    {"rotated key width", rope_width},
    {"rope width", rope_width},
    {"local rope width", local_rope_width},
    {"rope base", rope_base},
    {"local rope base", local_rope_base},
    {"rope scaling", rope_scaling},
    {"rope factor", rope_factor},
    {"rope original context", rope_original_context},
    {"yarn beta fast", yarn_beta_fast},
    {"yarn beta slow", yarn_beta_slow},
    {"yarn extrapolation", yarn_extrapolation},
    {"yarn scale", yarn_scale},
    {"yarn attention", yarn_attention_factor},
    {"rope attention", long_rope_attention},
    {"rope trained", rope_trained},
    {"rope sections", rope_sections},
};

}  // namespace

std::span<const GgufLaw> gguf_attention_laws() { return kAttentionLaws; }

}  // namespace invar
