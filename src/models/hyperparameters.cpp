#include "models/hyperparameters.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace invar {
namespace {

// Our word for a hyper-parameter, and each dialect's. GGUF's keys stand behind "<architecture>.".
struct Word {
    std::string_view ours, gguf;
};

constexpr Word kWords[] = {
    {"layers", "block_count"},
    {"width", "embedding_length"},
    {"context", "context_length"},
    {"vocabulary", "vocab_size"},
    {"norm epsilon", "attention.layer_norm_rms_epsilon"},
    {"heads", "attention.head_count"},
    {"KV heads", "attention.head_count_kv"},
    {"key width", "attention.key_length"},
    {"value width", "attention.value_length"},
    {"window", "attention.sliding_window"},
    {"ffn width", "feed_forward_length"},
    {"experts", "expert_count"},
    {"experts per token", "expert_used_count"},
    {"expert width", "expert_feed_forward_length"},
    {"shared experts", "expert_shared_count"},
    {"shared expert width", "expert_shared_feed_forward_length"},
    {"query temperature", "attention.temperature_scale"},
    {"rope width", "rope.dimension_count"},
    {"rope base", "rope.freq_base"},
    {"rope scaling", "rope.scaling.type"},
    {"rope factor", "rope.scaling.factor"},
    {"old rope factor", "rope.scale_linear"},  // of files from before rope.scaling.*
    {"rope original context", "rope.scaling.original_context_length"},
    {"yarn beta fast", "rope.scaling.yarn_beta_fast"},
    {"yarn beta slow", "rope.scaling.yarn_beta_slow"},
    {"yarn extrapolation", "rope.scaling.yarn_ext_factor"},
    {"yarn attention", "rope.scaling.yarn_attn_factor"},
    {"rope attention", "rope.scaling.attn_factor"},
};

const Word& find_word(std::string_view ours) {
    const auto* const found =
        std::find_if(std::begin(kWords), std::end(kWords), [&](const Word& word) { return word.ours == ours; });
    CHECK(found != std::end(kWords), "only words of the table are asked for");
    return *found;
}

}  // namespace

std::string Hyperparameters::gguf_key(std::string_view word) const {
    return fmt::format("{}.{}", architecture_, find_word(word).gguf);
}

std::string Hyperparameters::spell(std::string_view word) const {
    return fmt::format("metadata key '{}'", gguf_key(word));
}

bool Hyperparameters::has(std::string_view word) const { return checkpoint_.metadata().has(gguf_key(word)); }

Result<int64_t> Hyperparameters::integer(std::string_view word, int64_t low, int64_t high) const {
    TRY_ASSIGN(const int64_t value, checkpoint_.metadata().signed_integer(gguf_key(word)));
    if (value < low || value > high)
        return fail("{}: {} is {}, but must be between {} and {}", file(), spell(word), value, low, high);
    return value;
}

Result<std::vector<int64_t>> Hyperparameters::for_each_layer(std::string_view word, size_t layers, int64_t low,
                                                             int64_t high) const {
    const MetadataValue* value = checkpoint_.metadata().find(gguf_key(word));
    if (value == nullptr || !value->is_array()) {
        TRY_ASSIGN(const int64_t one, integer(word, low, high));
        return std::vector<int64_t>(layers, one);
    }
    TRY_ASSIGN(std::vector<int64_t> all, checkpoint_.metadata().integers(gguf_key(word)));
    if (all.size() != layers)
        return fail("{}: {} has {} numbers, but the model has {} layers", file(), spell(word), all.size(), layers);
    for (const int64_t one : all) {
        if (one < low || one > high)
            return fail("{}: {} contains {}, but must be between {} and {}", file(), spell(word), one, low, high);
    }
    return all;
}

Result<double> Hyperparameters::positive(std::string_view word) const {
    TRY_ASSIGN(const double value, checkpoint_.metadata().number(gguf_key(word)));
    if (!(value > 0) || !std::isfinite(value))
        return fail("{}: {} is {}, but must be a positive number", file(), spell(word), value);
    return value;
}

Result<double> Hyperparameters::positive_or(std::string_view word, double otherwise) const {
    if (!has(word)) return otherwise;
    return positive(word);
}

Result<std::string> Hyperparameters::text(std::string_view word) const {
    TRY_ASSIGN(const std::string_view value, checkpoint_.metadata().string(gguf_key(word)));
    return std::string(value);
}

}  // namespace invar
