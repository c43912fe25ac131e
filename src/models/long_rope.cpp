// Reading both tables, and the choice: see long_rope.h.
#include "models/long_rope.h"

#include <fmt/format.h>

#include <cmath>

#include "arithmetic/trigonometry.h"
#include "files/printable.h"
#include "models/read_config.h"

namespace invar {
namespace {

constexpr std::string_view kShort = "rope_factors_short.weight", kLong = "rope_factors_long.weight";

Result<std::vector<float>> factors_of(const Hyperparameters& keys, std::string_view word, int64_t pairs) {
    TRY_ASSIGN(const std::vector<double> numbers, keys.numbers(word));
    if (static_cast<int64_t>(numbers.size()) != pairs) {
        return fail("{}: {} has {} numbers, but rope turns {} pairs", keys.file(), keys.spell(word), numbers.size(),
                    pairs);
    }
    return std::vector<float>(numbers.begin(), numbers.end());
}

// What multiplies cosines and sines: given, or sqrt(1 + ln(s) / ln(original context)) with s = context / original
// context, and 1 for s <= 1. GGUF files hold the number rounded to binary32.
Result<double> attention_factor(const Hyperparameters& keys, const RopeSpec& rope, const ModelConfig& config) {
    double factor = 1;
    if (is_gguf(keys) || keys.has("yarn multiplier")) {
        TRY_ASSIGN(factor, keys.positive(is_gguf(keys) ? "rope attention" : "yarn multiplier"));
    } else if (const double times = static_cast<double>(config.context_length) / rope.original_context; times > 1) {
        factor = std::sqrt(1 + law::log64(times) / law::log64(rope.original_context));
    }
    return static_cast<double>(static_cast<float>(factor));
}

}  // namespace

bool has_long_rope(const Hyperparameters& keys, std::string_view scaling) {
    const Checkpoint& checkpoint = keys.checkpoint();
    if (is_gguf(keys)) {
        const bool named = scaling == "none" || scaling == "longrope";
        return named && (checkpoint.find(kShort) != nullptr || checkpoint.find(kLong) != nullptr);
    }
    if (scaling == "longrope" || scaling == "su") return true;
    return scaling == "yarn" && keys.has("long rope factors");
}

Result<void> read_long_rope(const Hyperparameters& keys, RopeSpec& rope, ModelConfig& config) {
    TRY_ASSIGN(const int64_t original, keys.integer("rope original context", 2, int64_t{1} << 24));
    rope.original_context = static_cast<double>(original);
    TRY_ASSIGN(rope.attn_factor, attention_factor(keys, rope, config));
    if (is_gguf(keys)) {
        TRY_ASSIGN(rope.frequency_factors, read_rope_factors(keys, kShort, rope.pairs(), config));
        TRY_ASSIGN(rope.long_factors, read_rope_factors(keys, kLong, rope.pairs(), config));
        return {};
    }
    TRY_ASSIGN(rope.frequency_factors, factors_of(keys, "short rope factors", rope.pairs()));
    TRY_ASSIGN(rope.long_factors, factors_of(keys, "long rope factors", rope.pairs()));
    return {};
}

void choose_for_context(ModelConfig& config, int64_t context) {
    for (RopeSpec& rope : config.ropes) {
        if (rope.long_factors.empty()) continue;
        rope.long_context = static_cast<double>(context) > rope.original_context;
        config.notes.push_back(
            fmt::format("rope turns by the {} factors at every position, because the context of {} is {} the {} tokens "
                        "the model was trained for first",
                        rope.long_context ? "long" : "short", context, rope.long_context ? "longer than" : "within",
                        rope.original_context));
    }
}

std::string chosen_rope(const ModelConfig& config) {
    std::string chosen;
    for (const RopeSpec& rope : config.ropes) {
        if (!rope.long_factors.empty()) chosen += rope.long_context ? ", long rope" : ", short rope";
    }
    return chosen;
}

}  // namespace invar
