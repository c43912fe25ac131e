// Reads mixtures of experts that take a softmax over all experts, and which layers have one: see read_config.h.
#include <algorithm>

#include "models/read_config.h"

namespace invar {

Result<int64_t> read_uniform(const Hyperparameters& keys, std::string_view word, int64_t low, int64_t high) {
    if (!keys.is_list(word)) return keys.integer(word, low, high);
    TRY_ASSIGN(const std::vector<int64_t> all, keys.integers(word, low, high));
    if (!all.empty() && std::all_of(all.begin(), all.end(), [&](int64_t one) { return one == all[0]; })) return all[0];
    return fail(ErrorKind::unsupported,
                "{}: {} differs between layers or is empty, which is not supported for this architecture", keys.file(),
                keys.spell(word));
}

Result<int64_t> read_experts_per_token(const Hyperparameters& keys, int64_t experts) {
    TRY_ASSIGN(const int64_t used, read_uniform(keys, "experts per token", 1, kMaximumExperts));
    if (used <= experts) return used;
    return fail("{}: {} is {}, but by {} there are only {} experts", keys.file(), keys.spell("experts per token"), used,
                keys.spell("experts"), experts);
}

Result<void> check_renormalised(const Hyperparameters& keys) {
    TRY_ASSIGN(const bool stated, keys.boolean_or("renormalise", true));
    if (stated) return {};
    return fail(ErrorKind::unsupported,
                "{}: {} is false, but the weights of the chosen experts always sum to 1 in this architecture",
                keys.file(), keys.spell("renormalise"));
}

Result<std::optional<MixtureGeometry>> read_mixture(const Hyperparameters& keys, const MixtureRules& rules) {
    if (!keys.has("experts")) return std::optional<MixtureGeometry>();
    TRY_ASSIGN(const int64_t count, keys.integer("experts", 0, kMaximumExperts));
    if (count == 0) return std::optional<MixtureGeometry>();
    MixtureGeometry mixture{.experts = static_cast<int>(count)};
    TRY_ASSIGN(const int64_t used, read_experts_per_token(keys, count));
    mixture.route.experts_per_row = static_cast<int>(used);
    TRY_ASSIGN(mixture.width,
               read_uniform(keys, keys.has("expert width") ? "expert width" : "ffn width", 1, kMaximumWidth));
    for (const std::string_view word : {"shared experts", "shared expert width"}) {
        if (rules.shared_apart || !keys.has(word)) continue;
        TRY_ASSIGN(const int64_t shared, keys.integer(word, 0, kMaximumWidth));
        if (rules.shared && word == "shared expert width") {
            mixture.shared_width = shared;
            mixture.shared_gated = shared > 0;
        } else if (shared > (rules.shared ? 1 : 0)) {
            return fail(ErrorKind::unsupported,
                        "{}: {} is {}, but shared experts {}are not supported for this architecture", keys.file(),
                        keys.spell(word), shared, rules.shared ? "beyond one " : "");
        }
    }
    // GGUF files seldom have a key for this. transformers does not renormalise unless config.json says so, except for
    // the families whose rules say otherwise and for Mixtral, which always does.
    TRY_ASSIGN(mixture.route.renormalise,
               keys.boolean_or("renormalise", rules.renormalised.value_or(is_gguf(keys) || !keys.has("expert width"))));
    return std::optional<MixtureGeometry>(mixture);
}

Result<std::vector<bool>> read_dense_layers(const Hyperparameters& keys, size_t layers) {
    std::vector<bool> dense(layers, false);
    if (keys.has("dense layers")) {
        TRY_ASSIGN(const std::vector<int64_t> listed,
                   keys.integers("dense layers", 0, static_cast<int64_t>(layers) - 1));
        for (const int64_t layer : listed) dense[static_cast<size_t>(layer)] = true;
    }
    if (keys.has("mixture step")) {
        TRY_ASSIGN(const int64_t step, keys.integer("mixture step", 1, kMaximumLayers));
        for (size_t i = 0; i < layers; ++i) dense[i] = dense[i] || static_cast<int64_t>(i + 1) % step != 0;
    }
    return dense;
}

}  // namespace invar
