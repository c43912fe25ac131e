#include "checkpoint/ignore_rules.h"

#include <algorithm>
#include <span>

namespace invar {
namespace {

constexpr std::string_view kActivations = "scales of quantised activations: here activations get scales of their own";
constexpr std::string_view kCacheScales = "scales of a quantised cache: here the cache is not";
constexpr std::string_view kOtherSenses = "not part of the text model";
constexpr std::string_view kPredicts = "a head that predicts several tokens, which is not computed";

constexpr IgnoreRule kGgufRules[] = {
    {"*.input_scale", kActivations},
    {"blk.*.nextn.*", kPredicts},
};
constexpr IgnoreRule kHuggingFaceRules[] = {
    {"*.input_scale", kActivations},
    {"*.input_global_scale", kActivations},
    {"*.activation_scale", kActivations},
    {"*.k_scale", kCacheScales},
    {"*.v_scale", kCacheScales},
    {"*.rotary_emb.inv_freq", "rope's frequencies, which the config gives"},
    {"vision_tower.*", kOtherSenses, IgnoreKind::other_senses},
    {"model.vision_tower.*", kOtherSenses, IgnoreKind::other_senses},
    {"vision_model.*", kOtherSenses, IgnoreKind::other_senses},
    {"model.vision_model.*", kOtherSenses, IgnoreKind::other_senses},
    {"visual.*", kOtherSenses, IgnoreKind::other_senses},
    {"model.visual.*", kOtherSenses, IgnoreKind::other_senses},
    {"embed_vision.*", kOtherSenses, IgnoreKind::other_senses},
    {"model.embed_vision.*", kOtherSenses, IgnoreKind::other_senses},
    {"multi_modal_projector.*", kOtherSenses, IgnoreKind::other_senses},
    {"model.multi_modal_projector.*", kOtherSenses, IgnoreKind::other_senses},
    {"audio_tower.*", kOtherSenses, IgnoreKind::other_senses},
    {"model.audio_tower.*", kOtherSenses, IgnoreKind::other_senses},
    {"embed_audio.*", kOtherSenses, IgnoreKind::other_senses},
    {"model.embed_audio.*", kOtherSenses, IgnoreKind::other_senses},
    {"mtp.*", kPredicts},
    {"model.mtp.*", kPredicts},
};

// Of Mistral's own layout.
constexpr IgnoreRule kMistralRules[] = {
    {"*.qscale_act", kActivations},
    {"vision_encoder.*", kOtherSenses, IgnoreKind::other_senses},
    {"vision_language_adapter.*", kOtherSenses, IgnoreKind::other_senses},
    {"patch_merger.*", kOtherSenses, IgnoreKind::other_senses},
    {"pre_mm_projector_norm.*", kOtherSenses, IgnoreKind::other_senses},
};

std::span<const IgnoreRule> rules_of(Dialect dialect) {
    switch (dialect) {
        case Dialect::gguf:
            return kGgufRules;
        case Dialect::hugging_face:
            return kHuggingFaceRules;
        case Dialect::mistral:
            return kMistralRules;
    }
    return {};
}

}  // namespace

// The text of the last "*" grows by one character wherever the rest does not match.
bool matches_pattern(std::string_view name, std::string_view pattern) {
    size_t at = 0, in_pattern = 0, star = std::string_view::npos, behind_star = 0;
    while (at < name.size()) {
        if (in_pattern < pattern.size() && pattern[in_pattern] == '*') {
            star = in_pattern++;
            behind_star = at;
        } else if (in_pattern < pattern.size() && pattern[in_pattern] == name[at]) {
            ++at, ++in_pattern;
        } else if (star != std::string_view::npos) {
            in_pattern = star + 1;
            at = ++behind_star;
        } else {
            return false;
        }
    }
    return pattern.find_first_not_of('*', in_pattern) == std::string_view::npos;
}

std::optional<IgnoreRule> ignore_rule(std::string_view tensor, Dialect dialect, const ModelConfig& config) {
    for (const UnusedTensors& unused : config.tensors_unused) {
        if (matches_pattern(tensor, unused.pattern))
            return IgnoreRule{unused.pattern, unused.because, IgnoreKind::of_architecture};
    }
    for (const IgnoreRule& rule : rules_of(dialect)) {
        if (matches_pattern(tensor, rule.pattern)) return rule;
    }
    return std::nullopt;
}

}  // namespace invar
