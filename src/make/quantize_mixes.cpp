// The table of mixes: see quantize_mixes.h. The rows follow llama.cpp's choices for models of the llama and qwen
// families, so that our files have the size and quality that users expect from the name. llama.cpp's special cases for
// Falcon, Mixtral 8x7B and Llama-2-70B are missing.
#include "make/quantize_mixes.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

namespace invar {

namespace {

using enum FormatId;
using Role = MixRole;
using When = MixWhen;

constexpr MixRow kOutputQ6K[] = {{Role::output, When::always, q6_k}};
constexpr MixRow kQ2K[] = {{Role::output, When::always, q6_k},
                           {Role::attention_value, When::grouped_by_four, q4_k},
                           {Role::attention_value, When::always, q3_k},
                           {Role::attention_output, When::always, q3_k},
                           {Role::ffn_down, When::always, q3_k}};
constexpr MixRow kQ3KM[] = {{Role::output, When::always, q6_k},
                            {Role::attention_value, When::first_two, q5_k},
                            {Role::attention_value, When::always, q4_k},
                            {Role::attention_output, When::always, q4_k},
                            {Role::ffn_down, When::first_sixteenth, q5_k},
                            {Role::ffn_down, When::always, q4_k}};
constexpr MixRow kQ3KL[] = {{Role::output, When::always, q6_k},
                            {Role::attention_value, When::always, q5_k},
                            {Role::attention_output, When::always, q5_k},
                            {Role::ffn_down, When::always, q5_k}};
constexpr MixRow kQ4KS[] = {{Role::output, When::always, q6_k},
                            {Role::attention_value, When::first_four, q5_k},
                            {Role::ffn_down, When::first_eighth, q5_k}};
constexpr MixRow kMoreBitsQ6K[] = {{Role::output, When::always, q6_k},
                                   {Role::attention_value, When::more_bits, q6_k},
                                   {Role::ffn_down, When::more_bits, q6_k}};
constexpr MixRow kIQ4[] = {{Role::output, When::always, q6_k},
                           {Role::attention_value, When::grouped_by_four, q5_k},
                           {Role::ffn_down, When::first_eighth, q5_k}};
constexpr MixRow kMXFP4[] = {{Role::ffn_gate, When::is_expert, mxfp4},
                             {Role::ffn_up, When::is_expert, mxfp4},
                             {Role::ffn_down, When::is_expert, mxfp4}};
constexpr MixRow kNVFP4[] = {{Role::output, When::always, q8_0}, {Role::token_embedding, When::always, q8_0}};

// "output" is the head, or the token embedding where a model has no head of its own.
constexpr Mix kMixes[] = {
    {"f32", f32, 0, {}, "all matrices f32"},
    {"f16", f16, 1, {}, "all matrices f16"},
    {"bf16", bf16, 32, {}, "all matrices bf16"},
    {"q8_0", q8_0, 7, {}, "all matrices q8_0"},
    {"q4_0", q4_0, 2, kOutputQ6K, "output q6_k"},
    {"q4_1", q4_1, 3, kOutputQ6K, "output q6_k"},
    {"q5_0", q5_0, 8, kOutputQ6K, "output q6_k"},
    {"q5_1", q5_1, 9, kOutputQ6K, "output q6_k"},
    {"q2_k", q2_k, 10, kQ2K,
     "attention output, ffn_down q3_k; attn_v q4_k where 4 query heads share one, else q3_k; output q6_k"},
    {"q3_k_s", q3_k, 11, kOutputQ6K, "output q6_k"},
    {"q3_k_m", q3_k, 12, kQ3KM,
     "attention output q4_k; attn_v q4_k, first two layers q5_k; ffn_down q4_k, first sixteenth q5_k; output q6_k"},
    {"q3_k_l", q3_k, 13, kQ3KL, "attention output, attn_v, ffn_down q5_k; output q6_k"},
    {"q4_k_s", q4_k, 14, kQ4KS, "attn_v of the first four layers and ffn_down of the first eighth q5_k; output q6_k"},
    {"q4_k_m", q4_k, 15, kMoreBitsQ6K,
     "attn_v and ffn_down q6_k in the first eighth, the last eighth and every third layer between; output q6_k"},
    {"q5_k_s", q5_k, 16, kOutputQ6K, "output q6_k"},
    {"q5_k_m", q5_k, 17, kMoreBitsQ6K, "as q4_k_m, over q5_k"},
    {"q6_k", q6_k, 18, {}, "all matrices q6_k"},
    {"iq4_nl", iq4_nl, 25, kIQ4,
     "attn_v q5_k where 4 query heads share one; ffn_down q5_k in the first eighth; output q6_k"},
    {"iq4_xs", iq4_xs, 30, kIQ4, "as iq4_nl, over iq4_xs"},
    {"mxfp4", q8_0, 38, kMXFP4,
     "experts (or the dense feed-forward matrices of a model without any) mxfp4, the rest q8_0"},
    {"nvfp4", nvfp4, 39, kNVFP4, "token embedding and output q8_0"},
    {"stored", f32, 0, {}, "every matrix as it is, or f32 where GGUF has no such type (FP8, INT4)", true},
};

// The N of "blk.N.".
std::optional<int> layer_of(std::string_view name) {
    constexpr std::string_view kPrefix = "blk.";
    if (!name.starts_with(kPrefix)) return std::nullopt;
    name.remove_prefix(kPrefix.size());
    int layer = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
    if (error != std::errc() || layer < 0 || end == name.data() + name.size() || *end != '.') return std::nullopt;
    return layer;
}

bool contains(std::string_view name, std::string_view part) { return name.find(part) != std::string_view::npos; }

// Matrices that stay F32, because they are small and sensitive (a router in 4 bits sends tokens to other experts).
constexpr std::string_view kKeptParts[] = {"_norm",      "ffn_gate_inp",         "ssm_conv1d",    "shortconv.conv",
                                           "rope_freqs", "per_layer_model_proj", "position_embd", "token_types"};

bool in_layers(MixWhen when, int layer, int layers) {
    switch (when) {
        case When::first_eighth:
            return layer < layers / 8;
        case When::first_sixteenth:
            return layer < layers / 16;
        case When::first_two:
            return layer < 2;
        case When::first_four:
            return layer < 4;
        case When::more_bits: {
            const int eighth = layers / 8;
            return layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2;
        }
        default:
            return false;
    }
}

bool applies(const MixRow& row, MixRole role, const TensorInfo& tensor, const MixModel& model) {
    if (row.role != role) return false;
    switch (row.when) {
        case When::always:
            return true;
        case When::grouped_by_four:
            return model.query_group >= 4.0;
        case When::is_expert:
            return tensor.shape.size() == 3 || !model.has_experts;
        default: {
            const auto layer = layer_of(tensor.name);
            return layer && in_layers(row.when, *layer, model.layers);
        }
    }
}

}  // namespace

std::span<const Mix> mixes() { return kMixes; }

Result<const Mix*> find_mix(std::string_view name) {
    std::string known;
    for (const Mix& mix : kMixes) {
        if (mix.name == name) return &mix;
        known += (known.empty() ? "" : ", ") + std::string(mix.name);
    }
    return fail("there is no quantisation mix '{}'; there are {}", name, known);
}

MixModel describe_for_mix(std::span<const TensorInfo> tensors) {
    MixModel model;
    for (const TensorInfo& tensor : tensors) {
        if (const auto layer = layer_of(tensor.name)) model.layers = std::max(model.layers, *layer + 1);
        if (tensor.name == "output.weight") model.has_output = true;
        if (contains(tensor.name, "_exps.weight")) model.has_experts = true;
    }
    for (const TensorInfo& query : tensors) {
        const size_t place = query.name.find("attn_q.weight");
        if (place == std::string::npos) continue;
        const std::string name = query.name.substr(0, place) + "attn_v.weight";
        const auto value =
            std::find_if(tensors.begin(), tensors.end(), [&](const auto& each) { return each.name == name; });
        if (value == tensors.end()) continue;
        model.query_group = static_cast<double>(query.rows()) / static_cast<double>(value->rows());
        break;
    }
    return model;
}

MixRole role_of(const TensorInfo& tensor, const MixModel& model) {
    const std::string_view name = tensor.name;
    if (tensor.shape.size() < 2 || !name.ends_with(".weight")) return Role::kept;
    if (std::any_of(std::begin(kKeptParts), std::end(kKeptParts), [&](auto part) { return contains(name, part); })) {
        return Role::kept;
    }
    if (name == "output.weight") return Role::output;
    if (name == "token_embd.weight") return model.has_output ? Role::token_embedding : Role::output;
    struct Named {
        std::string_view part;
        MixRole role;
    };
    constexpr std::array kNamed{Named{".attn_q.weight", Role::attention_query},
                                Named{".attn_k.weight", Role::attention_key},
                                Named{".attn_v.weight", Role::attention_value},
                                Named{".attn_qkv.weight", Role::attention_value},
                                Named{".attn_output.weight", Role::attention_output},
                                Named{".ffn_gate", Role::ffn_gate},
                                Named{".ffn_up", Role::ffn_up},
                                Named{".ffn_down", Role::ffn_down}};
    for (const Named& each : kNamed) {
        if (contains(name, each.part)) return each.role;
    }
    return Role::other;
}

const Format& next_format(const Format& from) {
    switch (from.id) {
        case q2_k:
        case q3_k:
            return format(q4_0);
        case q4_k:
            return format(q5_0);
        case q5_k:
            return format(q5_1);
        case q6_k:
            return format(q8_0);
        case iq4_xs:
            return format(iq4_nl);
        case nvfp4:
            return format(mxfp4);
        default:
            return format(f16);
    }
}

MixChoice choose_format(const Mix& mix, const TensorInfo& tensor, const MixModel& model) {
    MixChoice choice;
    choice.role = role_of(tensor, model);
    if (choice.role == Role::kept) {
        choice.wanted = choice.chosen = &format(f32);
        return choice;
    }
    const auto row = std::find_if(mix.rows.begin(), mix.rows.end(),
                                  [&](const MixRow& each) { return applies(each, choice.role, tensor, model); });
    choice.wanted = &format(row == mix.rows.end() ? mix.base : row->format);
    if (mix.as_stored && tensor.format != nullptr && tensor.format->in_gguf()) choice.wanted = tensor.format;
    choice.chosen = choice.wanted;
    while (tensor.columns() % choice.chosen->block_weights != 0) choice.chosen = &next_format(*choice.chosen);
    return choice;
}

}  // namespace invar
