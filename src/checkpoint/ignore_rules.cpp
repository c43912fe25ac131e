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
    {"vision_tower.*", kOtherSenses},
    {"model.vision_tower.*", kOtherSenses},
    {"vision_model.*", kOtherSenses},
    {"model.vision_model.*", kOtherSenses},
    {"visual.*", kOtherSenses},
    {"model.visual.*", kOtherSenses},
    {"embed_vision.*", kOtherSenses},
    {"model.embed_vision.*", kOtherSenses},
    {"multi_modal_projector.*", kOtherSenses},
    {"model.multi_modal_projector.*", kOtherSenses},
    {"audio_tower.*", kOtherSenses},
    {"model.audio_tower.*", kOtherSenses},
    {"embed_audio.*", kOtherSenses},
    {"model.embed_audio.*", kOtherSenses},
    {"mtp.*", kPredicts},
    {"model.mtp.*", kPredicts},
};

// Of Mistral's own layout.
constexpr IgnoreRule kMistralRules[] = {
    {"*.qscale_act", kActivations},
    {"vision_encoder.*", kOtherSenses},
    {"vision_language_adapter.*", kOtherSenses},
    {"patch_merger.*", kOtherSenses},
    {"pre_mm_projector_norm.*", kOtherSenses},
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
        if (matches_pattern(tensor, unused.pattern)) return IgnoreRule{unused.pattern, unused.because, true};
    }
    for (const IgnoreRule& rule : rules_of(dialect)) {
        if (matches_pattern(tensor, rule.pattern)) return rule;
    }
    return std::nullopt;
}

}  // namespace invar
