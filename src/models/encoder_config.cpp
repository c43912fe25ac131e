#include "models/encoder_config.h"

#include <fmt/format.h>

#include <cmath>

#include "models/tensor_names.h"

namespace invar {
namespace {

Result<void> check_mask(const Hyperparameters& keys) {
    TRY_ASSIGN(const bool causal, keys.boolean_or("causal attention", false));
    if (!causal) return {};
    return fail(ErrorKind::unsupported, "{}: {} is true, but this architecture is supported as an encoder only",
                keys.file(), keys.spell("causal attention"));
}

}  // namespace

Result<void> read_encoder_layers(const Hyperparameters& keys, ModelConfig& config, const EncoderRules& rules) {
    TRY(check_mask(keys));
    TRY_ASSIGN(const int64_t layers, keys.integer("layers", 1, kMaximumLayers));
    TRY_ASSIGN(const int64_t heads, keys.integer("heads", 1, kMaximumHeads));
    const int64_t head_width = config.width / heads;
    if (config.width % heads != 0 || head_width > kMaximumHeadWidth) {
        return fail("{}: {} is {}, but heads share the width of {} evenly and have at most {} elements", keys.file(),
                    keys.spell("heads"), heads, config.width, kMaximumHeadWidth);
    }
    TRY_ASSIGN(const std::vector<int64_t> ffn,
               keys.for_each_layer("ffn width", static_cast<size_t>(layers), 1, kMaximumWidth));
    config.result = ModelResult::hidden;
    for (const int64_t width : ffn) {
        config.layers.push_back(
            {.mixer = AttentionGeometry{.heads = static_cast<int>(heads),
                                        .kv_heads = static_cast<int>(heads),
                                        .key_width = static_cast<int>(head_width),
                                        .value_width = static_cast<int>(head_width),
                                        .reach = Reach::both_ways,
                                        .rope = rules.rope ? 0 : -1,
                                        .scale = 1.0f / std::sqrt(static_cast<float>(head_width))},
             .ffn = DenseGeometry{.width = width, .activation = rules.activation, .gated = rules.gated},
             .norm_epsilon = config.norm_epsilon});
    }
    if (!rules.rope) return {};
    TRY_ASSIGN(const RopeSpec rope, read_rope(keys, head_width, config));
    config.ropes.push_back(rope);
    return {};
}

Result<int64_t> read_token_types(const Hyperparameters& keys) {
    const InputTableNames names;
    const std::string tensor = TensorNames(keys.checkpoint()).name(-1, names.types.gguf, names.types.hugging_face);
    const TensorInfo* table = keys.checkpoint().find(tensor);
    const int64_t rows = table == nullptr || table->shape.empty() ? 0 : table->shape[0];
    if (!keys.has("token types")) return rows;
    TRY_ASSIGN(const int64_t stated, keys.integer("token types", 0, int64_t{1} << 20));
    if (stated == rows) return rows;
    return fail("{}: {} is {}, but tensor '{}' has {} rows", keys.file(), keys.spell("token types"), stated, tensor,
                rows);
}

void leave_out_heads(ModelConfig& config, std::initializer_list<std::string_view> patterns) {
    for (const std::string_view pattern : patterns)
        config.tensors_unused.push_back(
            {std::string(pattern), "a head of the model's training, which is not computed"});
}

StreamNormNames sum_norms(const NormNames& embedding, const NormNames& mixer, const NormNames& ffn) {
    StreamNormNames names;
    names.mixer = names.ffn = names.output = {};
    names.embedding = embedding;
    names.mixer_post = mixer;
    names.ffn_post = ffn;
    return names;
}

}  // namespace invar
