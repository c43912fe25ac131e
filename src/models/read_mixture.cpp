#include "models/read_mixture.h"

#include <fmt/format.h>

#include "files/printable.h"
#include "models/read_config.h"
#include "models/tensor_names.h"

namespace invar {
namespace {

using Scoring = RouteSpec::Scoring;

Result<Scoring> read_scoring(const Hyperparameters& keys, Scoring scoring) {
    if (!keys.has("router")) return scoring;
    if (is_gguf(keys)) {
        TRY_ASSIGN(const int64_t number, keys.integer("router", 0, INT32_MAX));
        if (number == 1) return Scoring::softmax;
        if (number == 2) return Scoring::sigmoid;
        return fail(ErrorKind::unsupported,
                    "{}: {} is {}, but only 1 (softmax) and 2 (sigmoid) are supported for this architecture",
                    keys.file(), keys.spell("router"), number);
    }
    TRY_ASSIGN(const std::string name, keys.text("router"));
    const std::string_view expected = scoring == Scoring::sigmoid ? "sigmoid" : "softmax";
    if (name == expected) return scoring;
    return fail(ErrorKind::unsupported, "{}: {} is '{}', but models of this type have '{}'; others are not supported",
                keys.file(), keys.spell("router"), printable(name), expected);
}

// Whether the choice is limited to groups.
Result<bool> read_limit(const Hyperparameters& keys, Scoring scoring) {
    if (!keys.has("choice of experts")) return is_gguf(keys) || scoring == Scoring::sigmoid;
    TRY_ASSIGN(const std::string method, keys.text("choice of experts"));
    if (scoring == Scoring::sigmoid && method == "noaux_tc") return true;
    if (scoring == Scoring::softmax && method == "group_limited_greedy") return true;
    if (scoring == Scoring::softmax && method == "greedy") return false;
    return fail(ErrorKind::unsupported, "{}: {} is '{}', which is not supported for this kind of router", keys.file(),
                keys.spell("choice of experts"), printable(method));
}

Result<void> read_groups(const Hyperparameters& keys, MixtureGeometry& mixture, std::vector<std::string>& notes) {
    RouteSpec& route = mixture.route;
    const bool sigmoid = route.scoring == Scoring::sigmoid;
    route.group_score = sigmoid ? RouteSpec::GroupScore::sum_of_best_two : RouteSpec::GroupScore::best;
    TRY_ASSIGN(const bool limited, read_limit(keys, route.scoring));
    if (is_gguf(keys) && !keys.has("expert groups"))
        notes.push_back(fmt::format("{} is absent; all experts are one group", keys.spell("expert groups")));
    if (!limited || !keys.has("expert groups")) return {};
    TRY_ASSIGN(const int64_t groups, keys.integer("expert groups", 0, mixture.experts));
    if (groups <= 1) return {};
    TRY_ASSIGN(const int64_t used, keys.integer("used expert groups", 1, groups));
    route.groups = static_cast<int>(groups);
    route.groups_used = static_cast<int>(used);
    const int64_t size = mixture.experts / groups;
    if (mixture.experts % groups != 0 || (sigmoid && size < 2) || used * size < route.experts_per_row) {
        return fail("{}: {} is {} and {} is {}, which is impossible for {} experts of which {} are used", keys.file(),
                    keys.spell("expert groups"), groups, keys.spell("used expert groups"), used, mixture.experts,
                    route.experts_per_row);
    }
    if (is_gguf(keys) && !sigmoid)
        notes.push_back("groups of experts are ranked by their best expert, as DeepSeek-V2 has it");
    return {};
}

Result<void> read_weights(const Hyperparameters& keys, RouteSpec& route) {
    const bool sigmoid = route.scoring == Scoring::sigmoid;
    if (is_gguf(keys) && sigmoid && !keys.has("renormalise")) {
        return fail("{}: {} is missing, but files of models with such a router say it", keys.file(),
                    keys.spell("renormalise"));
    }
    TRY_ASSIGN(route.renormalise, keys.boolean_or("renormalise", sigmoid));
    if (route.renormalise && !sigmoid) {
        return fail(ErrorKind::unsupported,
                    "{}: {} is true, but published code disagrees on what a router with softmax does then; such a "
                    "model is not supported",
                    keys.file(), keys.spell("renormalise"));
    }
    if (route.renormalise) route.sum_floor = 1e-20f;
    TRY_ASSIGN(const double factor,
               is_gguf(keys) ? keys.positive("expert factor") : keys.positive_or("expert factor", 1.0));
    route.factor = static_cast<float>(factor);
    return {};
}

}  // namespace

Result<MixtureGeometry> read_shared_mixture(const Hyperparameters& keys, RouteSpec::Scoring scoring,
                                            std::vector<std::string>& notes) {
    MixtureGeometry mixture;
    TRY_ASSIGN(const int64_t count, keys.integer("experts", 1, kMaximumExperts));
    TRY_ASSIGN(const int64_t used, read_experts_per_token(keys, count));
    mixture.experts = static_cast<int>(count);
    mixture.route.experts_per_row = static_cast<int>(used);
    TRY_ASSIGN(mixture.width, keys.integer("expert width", 1, kMaximumWidth));
    TRY_ASSIGN(mixture.route.scoring, read_scoring(keys, scoring));
    TRY(read_groups(keys, mixture, notes));
    TRY(read_weights(keys, mixture.route));
    if (keys.has("shared experts")) {
        TRY_ASSIGN(const int64_t shared, keys.integer("shared experts", 0, kMaximumWidth / mixture.width));
        mixture.shared_width = shared * mixture.width;
    } else if (!is_gguf(keys)) {
        return fail("{}: {} is missing in the config, but is needed", keys.file(), keys.spell("shared experts"));
    }
    return mixture;
}

Result<std::vector<bool>> read_mixture_layers(const Hyperparameters& keys, size_t layers) {
    std::vector<bool> mixture;
    if (!is_gguf(keys) && keys.has("kinds of feed-forward parts")) {
        TRY_ASSIGN(const std::vector<std::string> kinds, keys.texts("kinds of feed-forward parts"));
        for (const std::string& kind : kinds) {
            if (kind != "dense" && kind != "sparse") {
                return fail(ErrorKind::unsupported, "{}: {} has the kind '{}', but only dense and sparse are supported",
                            keys.file(), keys.spell("kinds of feed-forward parts"), printable(kind));
            }
            mixture.push_back(kind == "sparse");
        }
        if (mixture.size() == layers) return mixture;
        return fail("{}: {} names the kinds of {} layers, but the model has {}", keys.file(),
                    keys.spell("kinds of feed-forward parts"), kinds.size(), layers);
    }
    TRY_ASSIGN(const int64_t first, keys.integer("first mixture layer", 0, kMaximumLayers));
    for (size_t i = 0; i < layers; ++i) mixture.push_back(static_cast<int64_t>(i) >= first);
    return mixture;
}

Result<std::vector<decltype(LayerSpec::ffn)>> read_feed_forward(const Hyperparameters& keys, size_t layers,
                                                                const MixtureGeometry& mixture) {
    TRY_ASSIGN(const std::vector<bool> sparse, read_mixture_layers(keys, layers));
    TRY_ASSIGN(const int64_t width, keys.integer("ffn width", 1, kMaximumWidth));
    std::vector<decltype(LayerSpec::ffn)> parts;
    for (const bool one : sparse) {
        if (one) {
            parts.emplace_back(mixture);
        } else {
            parts.emplace_back(DenseGeometry{.width = width});
        }
    }
    return parts;
}

Result<size_t> read_layer_count(const Hyperparameters& keys, ModelConfig& config) {
    TRY_ASSIGN(int64_t layers, keys.integer("layers", 1, kMaximumLayers));
    if (!keys.has("further layers")) return static_cast<size_t>(layers);
    TRY_ASSIGN(const int64_t further, keys.integer("further layers", 0, is_gguf(keys) ? layers - 1 : kMaximumLayers));
    if (is_gguf(keys)) layers -= further;
    leave_out_layers(config, keys.checkpoint(), layers, further,
                     "a layer that predicts further tokens, which is not computed");
    return static_cast<size_t>(layers);
}

}  // namespace invar
