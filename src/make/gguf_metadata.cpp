// Writes each number of a config under the key that llama.cpp reads: see gguf_metadata.h.
#include "make/gguf_metadata.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"

namespace invar {
namespace {

class Keys {
  public:
    Keys(GgufWriter& writer, const std::string& architecture) : writer_(writer), architecture_(architecture) {}

    void count(std::string_view key, int64_t number) { writer_.add(whole(key), static_cast<uint32_t>(number)); }
    void number(std::string_view key, double value) { writer_.add(whole(key), static_cast<float>(value)); }
    void text(std::string_view key, std::string_view value) { writer_.add(whole(key), value); }
    // Writes one number for all layers, or an array if they differ.
    void for_each_layer(std::string_view key, const std::vector<int32_t>& numbers) {
        if (std::all_of(numbers.begin(), numbers.end(), [&](int32_t each) { return each == numbers.front(); })) {
            return count(key, numbers.front());
        }
        writer_.add_array(whole(key), std::span<const int32_t>(numbers));
    }

  private:
    std::string whole(std::string_view key) const { return fmt::format("{}.{}", architecture_, key); }

    GgufWriter& writer_;
    const std::string& architecture_;
};

void add_rope(const RopeSpec& rope, Keys& keys) {
    keys.number("rope.freq_base", rope.base);
    keys.count("rope.dimension_count", rope.rotary_width);
    if (rope.scaling == RopeSpec::Scaling::none) return;  // Llama 3's factors are a tensor
    const bool yarn = rope.scaling == RopeSpec::Scaling::yarn;
    keys.text("rope.scaling.type", yarn ? "yarn" : "linear");
    keys.number("rope.scaling.factor", rope.factor);
    if (!yarn) return;
    keys.count("rope.scaling.original_context_length", static_cast<int64_t>(rope.original_context));
    if (rope.beta_fast != 32) keys.number("rope.scaling.yarn_beta_fast", rope.beta_fast);
    if (rope.beta_slow != 1) keys.number("rope.scaling.yarn_beta_slow", rope.beta_slow);
    if (rope.ext_factor != 1) keys.number("rope.scaling.yarn_ext_factor", rope.ext_factor);
    if (rope.attn_factor != 1) keys.number("rope.scaling.yarn_attn_factor", rope.attn_factor);
}

// The width of the dense parts: the config's own number if no layer has one (a mixture in every layer).
std::vector<int32_t> ffn_widths(const Checkpoint& checkpoint, const ModelConfig& config) {
    int64_t otherwise = 0;
    const bool mistral = checkpoint.dialect() == Dialect::mistral;
    const auto stated = checkpoint.config().find(mistral ? "hidden_dim" : "intermediate_size");
    if (stated != checkpoint.config().end() && stated->is_number_unsigned()) otherwise = stated->get<int64_t>();
    std::vector<int32_t> widths;
    for (const LayerSpec& layer : config.layers) {
        const int64_t width = layer.dense() != nullptr ? layer.dense()->width : otherwise;
        widths.push_back(static_cast<int32_t>(std::min<int64_t>(width, INT32_MAX)));
    }
    return widths;
}

// Architectures whose every number and tensor has a key and a name here.
constexpr std::string_view kWritable[] = {"llama", "qwen2", "qwen3", "qwen3moe"};

}  // namespace

Result<void> add_model_metadata(const Checkpoint& checkpoint, const ModelConfig& config, GgufWriter& writer) {
    const std::string& file = checkpoint.name();
    if (std::find(std::begin(kWritable), std::end(kWritable), config.architecture) == std::end(kWritable)) {
        return fail(
            ErrorKind::unsupported,
            "{}: a directory of architecture '{}' cannot be made into a GGUF file here (possible: {}); convert it "
            "with llama.cpp's converter and use that file",
            file, config.architecture, fmt::join(kWritable, ", "));
    }
    if (config.ropes.size() != 1) {
        return fail("{}: has {} ropes, which the keys of a GGUF file of architecture '{}' cannot say", file,
                    config.ropes.size(), config.architecture);
    }
    Keys keys(writer, config.architecture);
    writer.add("general.architecture", config.architecture);
    writer.add("general.type", "model");
    writer.add("general.name", config.name);
    keys.count("block_count", static_cast<int64_t>(config.layers.size()));
    keys.count("context_length", config.context_length);
    keys.count("embedding_length", config.width);
    keys.for_each_layer("feed_forward_length", ffn_widths(checkpoint, config));
    std::vector<int32_t> heads, kv_heads;
    const AttentionGeometry& first = *config.layers.front().attention();
    for (const LayerSpec& layer : config.layers) {
        const AttentionGeometry* attention = layer.attention();
        if (attention == nullptr || attention->key_width != first.key_width || attention->window != first.window) {
            return fail("{}: has layers of several kinds, which the keys of architecture '{}' cannot say", file,
                        config.architecture);
        }
        heads.push_back(attention->heads);
        kv_heads.push_back(attention->kv_heads);
    }
    keys.for_each_layer("attention.head_count", heads);
    keys.for_each_layer("attention.head_count_kv", kv_heads);
    keys.count("attention.key_length", first.key_width);
    keys.count("attention.value_length", first.value_width);
    if (first.window > 0) keys.count("attention.sliding_window", first.window);
    keys.number("attention.layer_norm_rms_epsilon", config.norm_epsilon);
    add_rope(config.ropes.front(), keys);
    keys.count("vocab_size", config.vocabulary);
    if (config.most_experts() == 0) return {};
    keys.count("expert_count", config.most_experts());
    keys.count("expert_used_count", config.most_experts_per_token());
    const auto mixture = std::find_if(config.layers.begin(), config.layers.end(),
                                      [](const LayerSpec& layer) { return layer.mixture() != nullptr; });
    if (!mixture->mixture()->route.renormalise ||
        std::any_of(config.layers.begin(), config.layers.end(),
                    [](const auto& layer) { return layer.mixture() == nullptr; })) {
        return fail(
            "{}: mixtures that are not renormalised, or not in every layer, have no key in a GGUF file of "
            "architecture '{}'",
            file, config.architecture);
    }
    keys.count("expert_feed_forward_length", mixture->mixture()->width);
    return {};
}

}  // namespace invar
