#include "models/state_space_config.h"

#include <fmt/format.h>

#include "base/json.h"
#include "files/model_directory.h"
#include "files/printable.h"
#include "models/read_config.h"
#include "models/tensor_names.h"

namespace invar {
namespace {

constexpr int64_t kMaximumTaps = kMostTaps;  // what kernels hold

// Python writes the bare word Infinity, which the reader of config.json gives as a text.
bool is_no_limit(const Json& limit) {
    return limit.is_array() && limit.size() == 2 && limit[0].is_number() && limit[0].get<double>() == 0 &&
           limit[1] == "Infinity";
}

Result<void> check_time_steps(const Hyperparameters& keys) {
    if (is_gguf(keys)) return {};
    const Json& config = keys.checkpoint().config();
    for (const char* key : {"time_step_limit", "mamba_dt_limit"}) {
        const auto found = config.find(key);
        if (found == config.end() || found->is_null() || is_no_limit(*found)) continue;
        return fail(ErrorKind::unsupported,
                    "{}: the key '{}' is {}, but only [0.0, Infinity], which limits nothing, is supported", keys.file(),
                    key, printable(found->dump()));
    }
    return {};
}

// Elements of a head; Granite's config may leave it to a factor of the model's width.
Result<int64_t> read_head_width(const Hyperparameters& keys, const ModelConfig& config, int64_t heads) {
    int64_t values = 0;
    std::string_view word = "state values";
    if (is_gguf(keys)) {
        TRY_ASSIGN(values, keys.integer(word, 1, kMaximumHeads * kMaximumHeadWidth));
    } else if (keys.text("state head width").value_or("") == "auto") {
        word = "state expansion";
        TRY_ASSIGN(const int64_t factor, keys.integer(word, 1, kMaximumHeadWidth));
        values = factor * config.width;
    } else {
        return keys.integer("state head width", 1, kMaximumHeadWidth);
    }
    if (values % heads == 0 && values / heads <= kMaximumHeadWidth) return values / heads;
    return fail(
        "{}: by {} the {} heads of Mamba 2 have {} elements together, which must be a multiple of the heads, "
        "by at most {}",
        keys.file(), keys.spell(word), heads, values, kMaximumHeadWidth);
}

}  // namespace

Result<StateSpaceGeometry> read_state_space(const Hyperparameters& keys, const ModelConfig& config) {
    TRY(check_time_steps(keys));
    TRY_ASSIGN(const int64_t heads, keys.integer("state heads", 1, kMaximumHeads));
    TRY_ASSIGN(const int64_t groups, keys.integer("state groups", 1, kMaximumHeads));
    TRY_ASSIGN(const int64_t state, keys.integer("state width", 1, kMaximumHeadWidth));
    TRY_ASSIGN(const int64_t taps, keys.integer("state taps", 1, kMaximumTaps));
    TRY_ASSIGN(const int64_t width, read_head_width(keys, config, heads));
    if (heads % groups != 0) {
        return fail("{}: {} is {}, but must be a multiple of the {} groups", keys.file(), keys.spell("state heads"),
                    heads, groups);
    }
    return StateSpaceGeometry{.heads = {.key_heads = static_cast<int>(groups),
                                        .value_heads = static_cast<int>(heads),
                                        .key_width = static_cast<int>(state),
                                        .value_width = static_cast<int>(width)},
                              .taps = static_cast<int>(taps)};
}

Result<void> check_convolution_biases(const Hyperparameters& keys, const ModelConfig& config,
                                      std::string_view hugging_face) {
    if (is_gguf(keys)) return {};
    TRY_ASSIGN(const bool stated, keys.boolean_or("convolution biases", true));
    const TensorNames names(keys.checkpoint());
    for (size_t i = 0; i < config.layers.size(); ++i) {
        if (config.layers[i].state_space() == nullptr) continue;
        const std::string tensor = names.name(static_cast<int>(i), "ssm_conv1d.bias", hugging_face);
        const bool there = keys.checkpoint().find(tensor) != nullptr;
        if (there == stated) continue;
        return fail("{}: {} is {}{}, but tensor '{}' is {}; config.json and the weights must come from one model",
                    keys.file(), keys.spell("convolution biases"), stated,
                    keys.has("convolution biases") ? "" : " (absent, and this is what the model's code has then)",
                    tensor, there ? "there" : "missing");
    }
    return {};
}

}  // namespace invar
