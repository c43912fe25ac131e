// Every number of a config is listed once, in the visit functions here. Printing and comparing follow from them.
#include "models/config.h"

#include <fmt/format.h>

#include <algorithm>

namespace invar {
namespace {

std::string_view scaling_name(RopeSpec::Scaling scaling) {
    switch (scaling) {
        case RopeSpec::Scaling::none:
            return "none";
        case RopeSpec::Scaling::linear:
            return "linear";
        case RopeSpec::Scaling::yarn:
            return "yarn";
    }
    return "unknown";
}

// visit(name, value): the value is a number or a text.
template <class Visit>
void visit_rope(const RopeSpec& rope, const Visit& visit) {
    visit("pairing", rope.pairing == RopePairing::halves ? "halves" : "neighbours");
    visit("width", rope.rotary_width);
    visit("base", rope.base);
    visit("scaling", scaling_name(rope.scaling));
    visit("factor", rope.factor);
    visit("original context", rope.original_context);
    visit("extrapolation factor", rope.ext_factor);
    visit("attention factor", rope.attn_factor);
    visit("fast turns", rope.beta_fast);
    visit("slow turns", rope.beta_slow);
    visit("frequency factors", fmt::format("[{}]", fmt::join(rope.frequency_factors, ", ")));
}

template <class Visit>
void visit_mixer(const AttentionGeometry& attention, const Visit& visit) {
    visit("mixer", "attention");
    visit("query heads", attention.heads);
    visit("KV heads", attention.kv_heads);
    visit("key width", attention.key_width);
    visit("value width", attention.value_width);
    visit("window", attention.window);
    visit("rope", attention.rope);
    visit("scale of scores", attention.scale);
}

template <class Visit>
void visit_ffn(const DenseGeometry& dense, const Visit& visit) {
    visit("feed-forward part", "dense");
    visit("feed-forward width", dense.width);
}

template <class Visit>
void visit_ffn(const MixtureGeometry& mixture, const Visit& visit) {
    visit("feed-forward part", "mixture of experts");
    visit("experts", mixture.experts);
    visit("experts per token", mixture.per_token);
    visit("experts' width", mixture.width);
    visit("renormalised expert weights", mixture.renormalise);
}

template <class Visit>
void visit_config(const ModelConfig& config, const Visit& visit) {
    visit("the width", config.width);
    visit("the number of layers", config.layers.size());
    visit("the last norm's epsilon", config.norm_epsilon);
    for (size_t i = 0; i < config.ropes.size(); ++i) {
        visit_rope(config.ropes[i], [&](std::string_view name, const auto& value) {
            visit(config.ropes.size() == 1 ? fmt::format("rope's {}", name) : fmt::format("rope {}'s {}", i, name),
                  value);
        });
    }
    for (size_t i = 0; i < config.layers.size(); ++i) {
        const LayerSpec& layer = config.layers[i];
        const auto of_layer = [&](std::string_view name, const auto& value) {
            visit(fmt::format("layer {}'s {}", i, name), value);
        };
        std::visit([&](const auto& mixer) { visit_mixer(mixer, of_layer); }, layer.mixer);
        std::visit([&](const auto& ffn) { visit_ffn(ffn, of_layer); }, layer.ffn);
        of_layer("norms' epsilon", layer.norm_epsilon);
    }
}

}  // namespace

std::vector<ConfigField> fields_of(const ModelConfig& config) {
    std::vector<ConfigField> fields;
    visit_config(config, [&](std::string_view name, const auto& value) {
        fields.push_back({std::string(name), fmt::format("{}", value)});
    });
    return fields;
}

std::vector<KvGeometry> ModelConfig::kv_geometry() const {
    std::vector<KvGeometry> geometry;
    for (const LayerSpec& layer : layers) {
        const AttentionGeometry& attention = std::get<AttentionGeometry>(layer.mixer);
        geometry.push_back({.kv_heads = attention.kv_heads,
                            .key_width = attention.key_width,
                            .value_width = attention.value_width,
                            .window = attention.window});
    }
    return geometry;
}

int ModelConfig::most_experts() const {
    int most = 0;
    for (const LayerSpec& layer : layers) most = std::max(most, layer.mixture() ? layer.mixture()->experts : 0);
    return most;
}

int ModelConfig::most_experts_per_token() const {
    int most = 0;
    for (const LayerSpec& layer : layers) most = std::max(most, layer.mixture() ? layer.mixture()->per_token : 0);
    return most;
}

}  // namespace invar
