// Every number of a config is listed once, in the visit functions here. Printing and comparing follow from them.
#include "models/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

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

std::string_view reach_name(Reach reach) {
    switch (reach) {
        case Reach::causal:
            return "causal";
        case Reach::in_blocks:
            return "causal in blocks";
        case Reach::both_ways:
            return "both ways";
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
    visit("whole boundaries", rope.whole_boundaries);
    visit("turning pairs", rope.turning_pairs);
    visit("frequency factors", fmt::format("[{}]", fmt::join(rope.frequency_factors, ", ")));
    visit("frequency factors of long contexts", fmt::format("[{}]", fmt::join(rope.long_factors, ", ")));
}

template <class Visit>
void visit_mixer(const AttentionGeometry& attention, const Visit& visit) {
    visit("mixer", "attention");
    visit("query heads", attention.heads);
    visit("KV heads", attention.kv_heads);
    visit("key width", attention.key_width);
    visit("value width", attention.value_width);
    visit("reach", reach_name(attention.reach));
    visit("window", attention.window);
    visit("rope", attention.rope);
    visit("scale of scores", attention.scale);
    visit("soft cap of scores", attention.softcap);
    visit("gated attention", attention.gated);
    visit("sinks", attention.sinks);
    visit("values are keys", attention.values_are_keys);
    visit("normalised values", attention.unit_values);
    visit("normalised queries and keys", attention.unit_queries_and_keys);
    visit("norms behind rope", attention.norms_behind_rope);
    visit("layer of shared keys", attention.shares);
    visit("query temperature", attention.temperature.beta);
    visit("query temperature's length", attention.temperature.length);
    visit("query temperature's offset", attention.temperature.offset);
}

template <class Visit>
void visit_mixer(const LatentGeometry& latent, const Visit& visit) {
    visit("mixer", "latent attention");
    visit("query heads", latent.heads);
    visit("query rank", latent.query_rank);
    visit("latent width", latent.latent);
    visit("plain width of keys", latent.plain_width);
    visit("rotated width of keys", latent.rope_width);
    visit("value width", latent.value_width);
    visit("rope", latent.rope);
    visit("scale of scores", latent.scale);
    visit("inner norms' epsilon", latent.inner_epsilon);
}

template <class Visit>
void visit_heads(const RecurrenceHeads& heads, const Visit& visit) {
    visit("key heads", heads.key_heads);
    visit("value heads", heads.value_heads);
    visit("key width", heads.key_width);
    visit("value width", heads.value_width);
    visit("value heads in turn", heads.interleaved);
}

template <class Visit>
void visit_mixer(const DeltaGeometry& delta, const Visit& visit) {
    visit("mixer", "gated delta net");
    visit_heads(delta.heads, visit);
    visit("taps of the convolution", delta.taps);
    visit("scale of queries", delta.scale);
    visit("inner norms' epsilon", delta.inner_epsilon);
}

template <class Visit>
void visit_mixer(const StateSpaceGeometry& space, const Visit& visit) {
    visit("mixer", "Mamba 2");
    visit_heads(space.heads, visit);
    visit("taps of the convolution", space.taps);
}

template <class Visit>
void visit_mixer(const ShortConvolutionGeometry& convolution, const Visit& visit) {
    visit("mixer", "short convolution");
    visit("taps of the convolution", convolution.taps);
}

template <class Visit>
void visit_mixer(const NoBranch&, const Visit& visit) {
    visit("mixer", "none");
}

template <class Visit>
void visit_activation(const ActivationSpec& activation, bool gated, const Visit& visit) {
    visit("activation", activation_name(activation.kind));
    visit("activation's alpha", activation.alpha);
    visit("activation's limit", activation.limit);
    visit("gated feed-forward part", gated);
}

template <class Visit>
void visit_ffn(const DenseGeometry& dense, const Visit& visit) {
    visit("feed-forward part", "dense");
    visit("feed-forward width", dense.width);
    visit_activation(dense.activation, dense.gated, visit);
}

std::string_view scoring_name(RouteSpec::Scoring scoring) {
    switch (scoring) {
        case RouteSpec::Scoring::softmax:
            return "softmax";
        case RouteSpec::Scoring::softmax_of_chosen:
            return "softmax of the chosen";
        case RouteSpec::Scoring::sigmoid:
            return "sigmoid";
        case RouteSpec::Scoring::sigmoid_of_chosen:
            return "sigmoid of the chosen";
    }
    return "unknown";
}

template <class Visit>
void visit_ffn(const MixtureGeometry& mixture, const Visit& visit) {
    const RouteSpec& route = mixture.route;
    visit("feed-forward part", "mixture of experts");
    visit("experts", mixture.experts);
    visit("experts per token", route.experts_per_row);
    visit("experts' width", mixture.width);
    visit("router's scores", scoring_name(route.scoring));
    visit("weighed inputs of experts", mixture.weighs_inputs);
    visit("renormalised expert weights", route.renormalise);
    visit("groups of experts", route.groups);
    visit("used groups of experts", route.groups_used);
    visit("groups' scores",
          route.group_score == RouteSpec::GroupScore::best ? "the best expert" : "the best two experts");
    visit("floor of the sum of expert weights", route.sum_floor);
    visit("factor of expert weights", route.factor);
    visit("latent width of experts", mixture.latent);
    visit("shared expert's width", mixture.shared_width);
    visit("gated shared expert", mixture.shared_gated);
    visit_activation(mixture.activation, mixture.gated, visit);
}

template <class Visit>
void visit_ffn(const NoBranch&, const Visit& visit) {
    visit("feed-forward part", "none");
}

template <class Visit>
void visit_config(const ModelConfig& config, const Visit& visit) {
    visit("the width", config.width);
    visit("the number of layers", config.layers.size());
    visit("the last norm's epsilon", config.norm_epsilon);
    visit("the kind of norms", config.layer_norms ? "LayerNorm" : "RMSNorm");
    visit("normalised sums", config.sums_normalised);
    visit("parallel branches", config.parallel);
    visit("the scale of embeddings", config.embedding_scale);
    visit("learned positions", config.position_rows);
    visit("token types", config.token_types);
    visit("the scale of branches", config.residual_scale);
    visit("the scale of logits", config.logit_scale);
    visit("the soft cap of logits", config.logit_softcap);
    visit("the width of a layer's own input", config.per_layer_width);
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

bool ModelConfig::sees_both_ways() const {
    return std::ranges::any_of(layers, [](const LayerSpec& layer) {
        return layer.attention() != nullptr && layer.attention()->reach == Reach::both_ways;
    });
}

std::vector<KvGeometry> ModelConfig::kv_geometry() const {
    std::vector<KvGeometry> geometry;
    for (const LayerSpec& layer : layers) {
        KvGeometry& kept = geometry.emplace_back();
        if (const LatentGeometry* latent = layer.latent()) {
            kept = {.kv_heads = 1,
                    .key_width = latent->latent + latent->rope_width,
                    .value_width = latent->latent,
                    .values_in_keys = true};
        }
        const AttentionGeometry* attention = layer.attention();
        if (attention == nullptr || attention->shares >= 0) continue;
        kept = {.kv_heads = attention->kv_heads,
                .key_width = attention->key_width,
                .value_width = attention->value_width,
                .reach = attention->reach,
                .window = attention->window};
    }
    return geometry;
}

std::vector<RecurrenceGeometry> ModelConfig::recurrences() const {
    std::vector<RecurrenceGeometry> all;
    bool any = false;
    for (const LayerSpec& layer : layers) {
        RecurrenceGeometry& kept = all.emplace_back();
        if (const ShortConvolutionGeometry* convolution = layer.short_convolution()) {
            any = true;
            kept = {.state_elements = 0, .column_elements = (convolution->taps - 1) * width};
            continue;
        }
        const RecurrenceHeads* heads = nullptr;
        int64_t taps = 0;
        if (const DeltaGeometry* delta = layer.delta()) {
            heads = &delta->heads;
            taps = delta->taps;
        } else if (const StateSpaceGeometry* space = layer.state_space()) {
            heads = &space->heads;
            taps = space->taps;
        }
        if (heads == nullptr) continue;
        any = true;
        const int64_t channels =
            int64_t{2} * heads->key_heads * heads->key_width + int64_t{heads->value_heads} * heads->value_width;
        kept = {.state_elements = heads->state_elements(), .column_elements = (taps - 1) * channels};
    }
    if (!any) all.clear();
    return all;
}

StateGeometry ModelConfig::state_geometry(CacheType type, std::vector<Place> places) const {
    return {.layers = kv_geometry(), .recurrences = recurrences(), .type = type, .places = std::move(places)};
}

int ModelConfig::most_experts() const {
    int most = 0;
    for (const LayerSpec& layer : layers) most = std::max(most, layer.mixture() ? layer.mixture()->experts : 0);
    return most;
}

int ModelConfig::most_experts_per_token() const {
    int most = 0;
    for (const LayerSpec& layer : layers)
        most = std::max(most, layer.mixture() ? layer.mixture()->route.experts_per_row : 0);
    return most;
}

}  // namespace invar
