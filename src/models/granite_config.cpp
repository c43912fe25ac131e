#include "models/granite_config.h"

#include "files/printable.h"
#include "models/read_config.h"

namespace invar {
namespace {

Result<float> multiplier(const Hyperparameters& keys, std::string_view word) {
    TRY_ASSIGN(const double value, is_gguf(keys) ? keys.positive(word) : keys.positive_or(word, 1.0));
    return static_cast<float>(value);
}

}  // namespace

Result<void> read_granite_multipliers(const Hyperparameters& keys, ModelConfig& config) {
    TRY_ASSIGN(config.embedding_scale, multiplier(keys, "embedding scale"));
    TRY_ASSIGN(config.residual_scale, multiplier(keys, "residual scale"));
    TRY_ASSIGN(const float divisor, multiplier(keys, "logit divisor"));
    config.logit_scale = static_cast<float>(1.0 / static_cast<double>(divisor));
    return {};
}

Result<bool> granite_has_rope(const Hyperparameters& keys, bool otherwise) {
    if (is_gguf(keys)) return keys.boolean_or("rope trained", true);
    if (!keys.has("kind of positions")) return otherwise;
    TRY_ASSIGN(const std::string kind, keys.text("kind of positions"));
    if (kind == "rope" || kind == "nope") return kind == "rope";
    return fail(ErrorKind::unsupported, "{}: {} is '{}', but only rope and nope are supported for this architecture",
                keys.file(), keys.spell("kind of positions"), printable(kind));
}

}  // namespace invar
