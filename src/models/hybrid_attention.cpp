#include "models/hybrid_attention.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "models/read_config.h"

namespace invar {

Result<std::vector<bool>> read_attending_layers(const Hyperparameters& keys, size_t layers) {
    TRY_ASSIGN(const std::vector<int64_t> kv_heads, keys.for_each_layer("KV heads", layers, 0, kMaximumHeads));
    std::vector<bool> attending;
    for (const int64_t heads : kv_heads) attending.push_back(heads > 0);
    return attending;
}

Result<AttentionGeometry> read_hybrid_attention(const Hyperparameters& keys, const std::vector<bool>& attending,
                                                ModelConfig& config) {
    const size_t layers = attending.size();
    const auto found = std::find(attending.begin(), attending.end(), true);
    CHECK(found != attending.end(), "a layer attends");
    const auto layer = static_cast<size_t>(found - attending.begin());
    TRY_ASSIGN(const std::vector<int64_t> all, keys.for_each_layer("heads", layers, 1, kMaximumHeads));
    std::vector<int64_t> all_kv = all;
    if (keys.has("KV heads")) {
        TRY_ASSIGN(all_kv, keys.for_each_layer("KV heads", layers, 0, kMaximumHeads));
    }
    const int64_t heads = all[layer], kv_heads = all_kv[layer];
    for (size_t i = 0; i < layers; ++i) {
        if (all[i] == heads && (all_kv[i] == 0 || all_kv[i] == kv_heads)) continue;
        return fail(ErrorKind::unsupported,
                    "{}: layers {} and {} have different numbers of heads, which is not supported for this "
                    "architecture",
                    keys.file(), layer, i);
    }
    if (kv_heads == 0 || heads % kv_heads != 0) {
        return fail("{}: layer {} has {} query heads and {} KV heads, but the first must be a multiple of the second",
                    keys.file(), layer, heads, kv_heads);
    }
    const auto first = static_cast<int>(layer);
    TRY_ASSIGN(const int64_t key_width, read_head_width(keys, "key width", "attn_k.weight", "self_attn.k_proj.weight",
                                                        kv_heads, config.notes, 0, first));
    TRY_ASSIGN(const int64_t value_width, read_head_width(keys, "value width", "attn_v.weight",
                                                          "self_attn.v_proj.weight", kv_heads, config.notes, 0, first));
    return AttentionGeometry{.heads = static_cast<int>(heads),
                             .kv_heads = static_cast<int>(kv_heads),
                             .key_width = static_cast<int>(key_width),
                             .value_width = static_cast<int>(value_width),
                             .scale = 1.0f / std::sqrt(static_cast<float>(key_width))};
}

}  // namespace invar
