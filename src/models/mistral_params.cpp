#include "models/mistral_params.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "base/json.h"
#include "files/model_directory.h"
#include "files/printable.h"

namespace invar {
namespace {

constexpr std::string_view kKeys[] = {
    "dim",
    "n_layers",
    "head_dim",
    "hidden_dim",
    "n_heads",
    "n_kv_heads",
    "norm_eps",
    "vocab_size",
    "rope_theta",
    "tied_embeddings",
    "sliding_window",
    "max_position_embeddings",
    "max_seq_len",
    "max_batch_size",
    "model_type",
    "activation",
    "moe",
    "yarn",
    "quantization",
    "llama_4_scaling",
    "vision_encoder",  // its tensors are ignored by rule
};
constexpr std::string_view kMixtureKeys[] = {"num_experts", "num_experts_per_tok"};
constexpr std::string_view kYarnKeys[] = {"factor", "original_max_position_embeddings", "beta", "alpha", "apply_scale"};
constexpr std::string_view kScalingKeys[] = {"original_max_position_embeddings", "beta"};

using Keys = std::span<const std::string_view>;

Result<void> check_keys(const std::string& file, const Json& object, Keys known, std::string_view inside) {
    for (const auto& [key, value] : object.items()) {
        if (value.is_null() || std::find(known.begin(), known.end(), key) != known.end()) continue;
        return fail(
            ErrorKind::unsupported,
            "{}: the key '{}{}' is not known here and could change what the model computes; it is not supported", file,
            inside, printable(key));
    }
    return {};
}

// An object whose keys all have to be there.
Result<void> check_object(const std::string& file, const Json& params, const char* key, Keys keys) {
    const auto found = params.find(key);
    if (found == params.end() || found->is_null()) return {};
    if (!found->is_object()) return fail("{}: the key '{}' must be an object", file, key);
    for (const std::string_view wanted : keys) {
        const auto value = found->find(std::string(wanted));
        if (value == found->end() || value->is_null())
            return fail("{}: the key '{}.{}' is missing, but is needed", file, key, wanted);
    }
    return check_keys(file, *found, keys, std::string(key) + ".");
}

}  // namespace

Result<void> check_mistral_params(const Checkpoint& checkpoint) {
    const std::string& file = checkpoint.directory()->config_name();
    const Json& params = checkpoint.config();
    TRY(check_keys(file, params, kKeys, ""));
    TRY(check_object(file, params, "moe", kMixtureKeys));
    TRY(check_object(file, params, "yarn", kYarnKeys));
    TRY(check_object(file, params, "llama_4_scaling", kScalingKeys));
    const auto type = params.find("model_type");
    if (type == params.end() || type->is_null() || (type->is_string() && type->get<std::string>() == "transformer"))
        return {};
    return fail(ErrorKind::unsupported, "{}: the key 'model_type' is {}, but only 'transformer' is supported", file,
                type->is_string() ? "'" + printable(type->get<std::string>()) + "'" : "no text");
}

}  // namespace invar
