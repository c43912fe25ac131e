#include "proof/record/recording.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <tuple>

#include "base/check.h"
#include "base/hash.h"

namespace invar {
namespace {

constexpr std::string_view kLayerPrefix = "layer.";

Result<int> parse_number(std::string_view digits, std::string_view whole) {
    int number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error != std::errc() || end != digits.data() + digits.size() || number < 0) {
        return fail("'{}' is no stage name: '{}' is no number; stages are named like layer.3.attention_norm", whole,
                    digits);
    }
    return number;
}

}  // namespace

int64_t element_bytes(ElementType type) { return type == ElementType::f64 ? 8 : 4; }

std::string to_string(const StageKey& key) {
    std::string text = key.layer < 0 ? key.name : fmt::format("{}{}.{}", kLayerPrefix, key.layer, key.name);
    if (key.occurrence != 1) text += fmt::format("#{}", key.occurrence);
    return text;
}

Result<StageKey> parse_stage_key(std::string_view text) {
    StageKey key;
    std::string_view rest = text;
    if (const size_t hash = rest.rfind('#'); hash != std::string_view::npos) {
        TRY_ASSIGN(key.occurrence, parse_number(rest.substr(hash + 1), text));
        rest = rest.substr(0, hash);
    }
    if (rest.starts_with(kLayerPrefix)) {
        rest.remove_prefix(kLayerPrefix.size());
        const size_t dot = rest.find('.');
        if (dot == std::string_view::npos) {
            return fail("'{}' is no stage name: after the layer a name is missing, as in layer.3.attention_norm", text);
        }
        TRY_ASSIGN(key.layer, parse_number(rest.substr(0, dot), text));
        rest = rest.substr(dot + 1);
    }
    if (rest.empty()) return fail("'{}' is no stage name: it is empty", text);
    key.name = std::string(rest);
    return key;
}

int64_t StageRecord::width() const {
    return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

double value_at(ElementType type, const std::byte* values, int64_t index) {
    const std::byte* place = values + index * element_bytes(type);
    if (type == ElementType::f64) {
        double number;
        std::memcpy(&number, place, sizeof number);
        return number;
    }
    if (type == ElementType::i32) {
        int32_t number;
        std::memcpy(&number, place, sizeof number);
        return number;
    }
    float number;
    std::memcpy(&number, place, sizeof number);
    return number;
}

double StageRecord::value(int64_t index, int64_t element) const { return value_at(type, at(index), element); }

std::optional<int64_t> StageRecord::index_of(int64_t position) const {
    const auto found = std::lower_bound(positions.begin(), positions.end(), position);
    if (found == positions.end() || *found != position) return std::nullopt;
    return found - positions.begin();
}

StageStatistics statistics_of(ElementType type, const std::byte* values, int64_t width) {
    StageStatistics result;
    double sum = 0, squares = 0;
    int64_t finite = 0;
    for (int64_t i = 0; i < width; ++i) {
        const double value = value_at(type, values, i);
        if (!std::isfinite(value)) {
            ++result.non_finite;
            continue;
        }
        result.least = finite == 0 ? value : std::min(result.least, value);
        result.greatest = finite == 0 ? value : std::max(result.greatest, value);
        sum += value;
        squares += value * value;
        ++finite;
    }
    if (finite > 0) {
        result.mean = sum / static_cast<double>(finite);
        result.rms = std::sqrt(squares / static_cast<double>(finite));
    }
    result.hash = hash_of({values, static_cast<size_t>(width * element_bytes(type))});
    return result;
}

std::optional<double> padding_of(std::string_view stage_name) {
    if (stage_name == "attention_scores") return -std::numeric_limits<double>::infinity();
    if (stage_name == "sampler.candidates") return -1;
    if (stage_name == "sampler.probabilities") return 0;
    return std::nullopt;
}

void widen_rows(StageRecord& stage, int64_t width) {
    const auto padding = padding_of(stage.key.name);
    CHECK(padding && width >= stage.shape.back(), "only some stages grow, and they do");
    std::array<std::byte, 8> fill{};
    const auto bytes = static_cast<size_t>(element_bytes(stage.type));
    const auto set = [&](auto value) { std::memcpy(fill.data(), &value, sizeof value); };
    if (stage.type == ElementType::f64) set(*padding);
    if (stage.type == ElementType::f32) set(static_cast<float>(*padding));
    if (stage.type == ElementType::i32) set(static_cast<int32_t>(*padding));
    const size_t old = static_cast<size_t>(stage.shape.back()) * bytes, wide = static_cast<size_t>(width) * bytes;
    const size_t rows = stage.data.size() / old;
    std::vector<std::byte> data(rows * wide);
    for (size_t row = 0; row < rows; ++row) {
        std::memcpy(data.data() + row * wide, stage.data.data() + row * old, old);
        for (size_t at = old; at < wide; at += bytes) std::memcpy(data.data() + row * wide + at, fill.data(), bytes);
    }
    stage.shape.back() = width;
    stage.data = std::move(data);
}

StageStatistics statistics_at(const StageRecord& stage, int64_t index) {
    if (!stage.statistics.empty()) return stage.statistics[static_cast<size_t>(index)];
    const auto padding = padding_of(stage.key.name);
    if (!padding || !stage.elements.empty()) return statistics_of(stage.type, stage.at(index), stage.width());
    const int64_t wide = stage.shape.back(), rows = stage.width() / wide;
    int64_t columns = wide;
    const auto is_filling = [&](int64_t column) {
        for (int64_t row = 0; row < rows; ++row) {
            if (stage.value(index, row * wide + column) != *padding) return false;
        }
        return true;
    };
    while (columns > 1 && is_filling(columns - 1)) --columns;
    const auto bytes = static_cast<size_t>(element_bytes(stage.type));
    std::vector<std::byte> values(static_cast<size_t>(rows * columns) * bytes);
    for (int64_t row = 0; row < rows; ++row) {
        std::memcpy(values.data() + static_cast<size_t>(row * columns) * bytes,
                    stage.at(index) + static_cast<size_t>(row * wide) * bytes, static_cast<size_t>(columns) * bytes);
    }
    return statistics_of(stage.type, values.data(), rows * columns);
}

const StageRecord* Recording::find(const StageKey& key) const {
    const auto found = std::find_if(stages.begin(), stages.end(), [&](const StageRecord& s) { return s.key == key; });
    return found == stages.end() ? nullptr : &*found;
}

namespace {

// The stages in the order in which models call their verbs (models/blocks.cpp, models/decoder.cpp); the several stages
// of a verb are in the order of recorder.h.
constexpr auto kBeforeLayers = std::to_array<std::string_view>(
    {"embedding", "embedding_scaled", "token_type", "embedding_with_type", "position", "embedding_with_position",
     "embedding_norm", "input_embedding", "input_embedding_scaled", "input_projection", "input_projection_scaled",
     "input_norm", "input_sum", "input_sum_scaled"});
// Latent attention turns its queries later than this list says, behind what it stores; Hunyuan normalises behind rope.
// clang-format off
constexpr auto kInLayer = std::to_array<std::string_view>({
    "attention_norm", "attention_input", "query_down", "latent",
    "query_down_norm", "query", "key", "value",
    "query_biased", "key_biased", "value_biased", "query_norm",
    "query_without_gate", "key_norm", "value_norm", "latent_norm",
    "query_rope", "key_rope", "query_scaled", "delta_inputs",
    "delta_gate", "delta_decay", "delta_beta", "delta_convolution",
    "delta_norm", "delta_query_scaled", "delta_rule", "delta_output_norm",
    "delta_gated", "state_inputs", "state_convolution", "state_space",
    "state_gated", "state_norm", "short_inputs", "short_gated_input", "short_convolution", "short_gated", "key_stored", "value_stored",
    "query_absorbed", "query_plain_rope", "attention_scores", "attention",
    "attention_gated", "attention_values", "attention_output", "attention_output_biased",
    "attention_post_norm", "attention_scaled", "residual_after_attention", "attention_sum_norm", "ffn_norm",
    "ffn_input", "gate", "up", "gate_biased",
    "up_biased", "activation", "down", "down_biased",
    "dense_post_norm", "router_norm", "router_input", "expert_norm",
    "router", "router_biased", "router_probabilities", "expert_weights",
    "routing_margin", "expert_ids", "expert_latent", "expert_input", "expert_gate",
    "expert_up", "expert_gate_biased", "expert_up_biased", "expert_activation",
    "expert_down", "expert_down_biased", "expert_sum", "expert_sum_wide",
    "shared_gate", "shared_up", "shared_gate_biased", "shared_up_biased",
    "shared_activation", "shared_down", "shared_down_biased", "shared_expert_gate",
    "shared_gated", "expert_sum_with_shared", "expert_post_norm", "dense_and_experts",
    "ffn_post_norm", "ffn_scaled", "residual_after_ffn", "ffn_sum_norm", "input_gate",
    "input_gated", "input_branch", "input_post_norm", "residual_after_input",
    "layer_scaled"});
// clang-format on
constexpr auto kAfterLayers = std::to_array<std::string_view>(
    {"final_rows", "output_norm", "logits", "logits_scaled", "logits_capped", "sampler.penalised", "sampler.candidates",
     "sampler.probabilities", "sampler.chosen"});

template <class Names>
std::optional<size_t> place_in(const Names& names, std::string_view name) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) return std::nullopt;
    return static_cast<size_t>(found - names.begin());
}

// (before, in or after the layers; layer; place in the layer; occurrence)
std::tuple<int, int, size_t, int> forward_rank(const StageKey& key) {
    const int occurrence = key.occurrence;
    if (key.layer >= 0) return {1, key.layer, place_in(kInLayer, key.name).value_or(kInLayer.size()), occurrence};
    if (const auto place = place_in(kBeforeLayers, key.name)) return {0, 0, *place, occurrence};
    return {2, 0, place_in(kAfterLayers, key.name).value_or(kAfterLayers.size()), occurrence};
}

}  // namespace

void sort_by_names(std::vector<StageRecord>& stages) {
    std::stable_sort(stages.begin(), stages.end(), [](const StageRecord& a, const StageRecord& b) {
        return forward_rank(a.key) < forward_rank(b.key);
    });
}

}  // namespace invar
