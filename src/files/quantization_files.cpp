// Finds the declarations of quantisation and compares them key by key: see quantization_files.h.
#include "files/quantization_files.h"

#include <array>
#include <unordered_map>

#include "base/json.h"
#include "files/json_document.h"
#include "files/printable.h"

namespace invar {
namespace {

// Formats short values as they are, for messages.
std::string shown(const Json& value) {
    if (value.is_string()) return printable(value.get_ref<const std::string&>());
    if (value.is_structured()) return std::string(kind_of(value));
    return value.dump();
}

// Errors if both have the key and the values differ; a key that one of the two lacks contradicts nothing.
Result<void> check_key(std::string_view key, std::string_view module, const Json& config,
                       const std::string& config_file, const Json& hf_quant, const std::string& hf_quant_file) {
    const auto mine = config.find(key);
    const auto theirs = hf_quant.find(key);
    if (mine == config.end() || theirs == hf_quant.end() || *mine == *theirs) return {};
    const std::string place = module.empty() ? std::string() : fmt::format(" of module '{}'", printable(module));
    return fail("{}: '{}'{} is {}, but {} says {}; the two files must come from one export", config_file, key, place,
                shown(*mine), hf_quant_file, shown(*theirs));
}

}  // namespace

Result<const Json*> find_quantization_config(const Json& config, const std::string& file) {
    const Json* found = nullptr;
    std::string found_key;
    const auto look = [&](const Json& object, const std::string& prefix) -> Result<void> {
        for (const std::string_view key : {"quantization_config", "compression_config"}) {
            const auto value = object.find(key);
            if (value == object.end() || value->is_null()) continue;
            const std::string name = prefix + std::string(key);
            if (!value->is_object())
                return fail("{}: '{}' is {}, but an object is needed", file, name, kind_of(*value));
            if (found != nullptr && *found != *value) {
                return fail("{}: '{}' and '{}' differ; only one of the two can be meant", file, found_key, name);
            }
            found = &*value;
            found_key = name;
        }
        return {};
    };
    TRY(look(config, ""));
    const auto text = config.find("text_config");
    if (text != config.end() && text->is_object()) TRY(look(*text, "text_config."));
    return found;
}

Result<void> check_agreement(const Json& config, const std::string& config_file, const Json& hf_quant,
                             const std::string& hf_quant_file) {
    const auto method = config.find("quant_method");
    if (method != config.end() && method->is_string() &&
        !method->get_ref<const std::string&>().starts_with("modelopt")) {
        return fail("{}: 'quant_method' is {}, but {} is a file of ModelOpt's; the two files must come from one export",
                    config_file, shown(*method), hf_quant_file);
    }
    for (const std::string_view key : {"quant_algo", "group_size"}) {
        TRY(check_key(key, {}, config, config_file, hf_quant, hf_quant_file));
    }
    const auto mine = config.find("quantized_layers");
    const auto theirs = hf_quant.find("quantized_layers");
    if (mine == config.end() || theirs == hf_quant.end() || !mine->is_object() || !theirs->is_object()) return {};
    std::unordered_map<std::string_view, const Json*> modules;
    for (const auto& [module, value] : theirs->get_ref<const Json::object_t&>()) modules.emplace(module, &value);
    for (const auto& [module, value] : mine->get_ref<const Json::object_t&>()) {
        const auto twin = modules.find(module);
        if (twin == modules.end()) {
            return fail(
                "{}: 'quantized_layers' names module '{}', but {} does not; the two files must come from one "
                "export",
                config_file, printable(module), hf_quant_file);
        }
        if (!value.is_object() || !twin->second->is_object()) continue;
        for (const std::string_view key : {"quant_algo", "group_size"}) {
            TRY(check_key(key, module, value, config_file, *twin->second, hf_quant_file));
        }
    }
    return {};
}

}  // namespace invar
