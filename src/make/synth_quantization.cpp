// Writes the declarations of the dialects of synth_scheme.h in config.json and hf_quant_config.json, as the writers of
// published checkpoints do (compressed-tensors, ModelOpt, Qwen's and DeepSeek's own FP8).
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/json.h"
#include "make/synth_scheme.h"

namespace invar {
namespace {

using L = LinearScheme;

Json weights_args(L scheme) {
    Json args = {{"actorder", nullptr}, {"block_structure", nullptr}, {"dynamic", false},     {"group_size", nullptr},
                 {"num_bits", 8},       {"observer", "minmax"},       {"strategy", "tensor"}, {"symmetric", true},
                 {"type", "float"}};
    const auto grouped = [&](int bits, const char* strategy, int group, const char* type) {
        args["num_bits"] = bits;
        args["strategy"] = strategy;
        args["group_size"] = group;
        args["type"] = type;
    };
    if (scheme == L::fp8_channel) args["strategy"] = "channel";
    if (scheme == L::nvfp4) grouped(4, "tensor_group", 16, "float");
    if (scheme == L::mxfp4) grouped(4, "group", 32, "float");
    if (scheme == L::int4_32) grouped(4, "group", 32, "int");
    if (scheme == L::int4_128) grouped(4, "group", 128, "int");
    return args;
}

Json activation_args(L scheme) {
    Json args = {{"dynamic", false},     {"group_size", nullptr}, {"num_bits", 8},
                 {"strategy", "tensor"}, {"symmetric", true},     {"type", "float"}};
    switch (scheme) {
        case L::fp8_tensor:
            return args;
        case L::fp8_channel:
            args["dynamic"] = true;
            args["strategy"] = "token";
            return args;
        case L::nvfp4:
            args["dynamic"] = "local";
            args["strategy"] = "tensor_group";
            args["group_size"] = 16;
            args["num_bits"] = 4;
            return args;
        default:
            return nullptr;  // weights only
    }
}

const char* compressed_format(L scheme) {
    switch (scheme) {
        case L::nvfp4:
            return "nvfp4-pack-quantized";
        case L::mxfp4:
            return "mxfp4-pack-quantized";
        case L::int4_32:
        case L::int4_128:
            return "pack-quantized";
        default:
            return "float-quantized";
    }
}

// The expression for the names that modules of a scheme have in their layers: "re:.*[.](q_proj|k_proj)$".
std::string modules_of(L scheme, std::span<const SynthLinear> quantized) {
    std::vector<std::string> names;
    for (const SynthLinear& linear : quantized) {
        std::string name = linear.module.substr(linear.module.rfind('.') + 1);
        if (linear.scheme == scheme && std::find(names.begin(), names.end(), name) == names.end())
            names.push_back(std::move(name));
    }
    return fmt::format("re:.*[.]({})$", fmt::join(names, "|"));
}

Json compressed_tensors_config(const DirectoryFormat& format, std::span<const std::string> ignore,
                               std::span<const SynthLinear> quantized) {
    const bool mixed = format.mlp != format.attention;
    Json groups = Json::object();
    const auto add = [&](L scheme, Json targets) {
        Json group = {{"format", compressed_format(scheme)},
                      {"input_activations", activation_args(scheme)},
                      {"output_activations", nullptr},
                      {"targets", std::move(targets)},
                      {"weights", weights_args(scheme)}};
        groups["group_" + std::to_string(groups.size())] = std::move(group);
    };
    if (mixed) {
        for (const L scheme : {format.mlp, format.attention}) add(scheme, Json::array({modules_of(scheme, quantized)}));
    } else {
        add(format.mlp, Json::array({"Linear"}));
    }
    return {
        {"config_groups", std::move(groups)},  {"format", mixed ? "mixed-precision" : compressed_format(format.mlp)},
        {"global_compression_ratio", nullptr}, {"ignore", Json(std::vector<std::string>(ignore.begin(), ignore.end()))},
        {"kv_cache_scheme", nullptr},          {"quant_method", "compressed-tensors"},
        {"quantization_status", "compressed"}};
}

const char* algorithm(L scheme) { return scheme == L::nvfp4_modelopt ? "NVFP4" : "FP8"; }

Json modelopt_layer(L scheme) {
    Json layer = {{"quant_algo", algorithm(scheme)}};
    if (scheme == L::nvfp4_modelopt) layer["group_size"] = 16;
    return layer;
}

Json modelopt_group(L scheme) {
    const int bits = scheme == L::nvfp4_modelopt ? 4 : 8;
    Json args = {{"dynamic", false}, {"num_bits", bits}, {"type", "float"}};
    if (bits == 4) args["group_size"] = 16;
    return {{"input_activations", args}, {"weights", args}};
}

Json quantized_layers(std::span<const SynthLinear> quantized) {
    std::map<std::string, Json> sorted;
    for (const SynthLinear& linear : quantized) {
        sorted[linear.module] = modelopt_layer(linear.scheme);
    }
    Json layers = Json::object();
    for (auto& [module, layer] : sorted) layers.get_ref<Json::object_t&>().emplace_back(module, std::move(layer));
    return layers;
}

// ModelOpt shortens its list: a layer that is left out entirely becomes one pattern.
Json modelopt_excluded(std::span<const std::string> ignore) {
    std::vector<std::string> list;
    for (const std::string& module : ignore) {
        const size_t attention = module.find(".self_attn.");
        list.push_back(attention == std::string::npos ? module : module.substr(0, attention) + ".self_attn*");
    }
    std::sort(list.begin(), list.end());
    list.erase(std::unique(list.begin(), list.end()), list.end());
    return Json(list);
}

const Json& producer() {
    static const Json value = {{"name", "modelopt"}, {"version", "0.33.0"}};
    return value;
}

Json modelopt_config(const DirectoryFormat& format, std::span<const std::string> ignore,
                     std::span<const SynthLinear> quantized) {
    const bool mixed = format.mlp != format.attention;
    Json groups = Json::object();
    const auto add = [&](L scheme, Json targets) {
        Json group = modelopt_group(scheme);
        group["targets"] = std::move(targets);
        groups["group_" + std::to_string(groups.size())] = std::move(group);
    };
    if (mixed) {
        for (const L scheme : {format.mlp, format.attention}) {
            Json targets = Json::array();
            for (const SynthLinear& linear : quantized) {
                if (linear.scheme == scheme) targets.push_back(linear.module);
            }
            add(scheme, std::move(targets));
        }
    } else {
        add(format.mlp, Json::array({"Linear"}));
    }
    Json config = {{"config_groups", std::move(groups)},
                   {"ignore", mixed ? Json::array() : modelopt_excluded(ignore)},
                   {"quant_algo", mixed ? "MIXED_PRECISION" : algorithm(format.mlp)},
                   {"kv_cache_scheme", {{"dynamic", false}, {"num_bits", 8}, {"type", "float"}}},
                   {"producer", producer()},
                   {"quant_method", "modelopt"}};
    if (mixed) config["quantized_layers"] = quantized_layers(quantized);
    return config;
}

// Qwen's own FP8: every module that stays is listed, norms too. DeepSeek's has no list.
Json fp8_config(const DirectoryFormat& format, std::span<const std::string> ignore) {
    Json config = {{"activation_scheme", "dynamic"},
                   {"fmt", "e4m3"},
                   {"modules_to_not_convert", Json(std::vector<std::string>(ignore.begin(), ignore.end()))},
                   {"quant_method", "fp8"},
                   {"weight_block_size", {128, 128}}};
    if (ignore.empty()) config.erase("modules_to_not_convert");
    if (format.mlp == L::fp8_block_ue8m0) config["scale_fmt"] = "ue8m0";
    return config;
}

}  // namespace

Json quantization_config(const DirectoryFormat& format, std::span<const std::string> ignore,
                         std::span<const SynthLinear> quantized) {
    switch (format.dialect) {
        case QuantDialect::compressed_tensors:
            return compressed_tensors_config(format, ignore, quantized);
        case QuantDialect::modelopt:
            return modelopt_config(format, ignore, quantized);
        case QuantDialect::fp8:
            return fp8_config(format, ignore);
        case QuantDialect::mxfp4:
            return {{"modules_to_not_convert",
                     {"model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"}},
                    {"quant_method", "mxfp4"}};
        case QuantDialect::none:
            break;
    }
    return nullptr;
}

Json hf_quant_config(const DirectoryFormat& format, std::span<const std::string> ignore,
                     std::span<const SynthLinear> quantized) {
    if (format.dialect != QuantDialect::modelopt) return nullptr;
    const bool mixed = format.mlp != format.attention;
    Json quantization = {{"quant_algo", mixed ? "MIXED_PRECISION" : algorithm(format.mlp)},
                         {"kv_cache_quant_algo", "FP8"}};
    if (mixed) {
        quantization["quantized_layers"] = quantized_layers(quantized);
    } else {
        if (format.mlp == L::nvfp4_modelopt) quantization["group_size"] = 16;
        quantization["exclude_modules"] = modelopt_excluded(ignore);
    }
    return {{"producer", producer()}, {"quantization", std::move(quantization)}};
}

}  // namespace invar
