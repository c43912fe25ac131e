// Reads the declarations of every tool, and matches names of modules with their lists: see quantization_config.h.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "checkpoint/quantization_config.h"

#include <fmt/format.h>
#include <pcre2.h>

#include <algorithm>
#include <memory>
#include <span>

#include "base/json.h"
#include "files/model_directory.h"
#include "files/printable.h"

namespace invar {
namespace {

constexpr std::string_view kMethods[] = {"compressed-tensors", "modelopt", "fp8", "mxfp4"};
constexpr std::string_view kFormats[] = {"nvfp4-pack-quantized",
                                         "mxfp4-pack-quantized",
                                         "float-quantized",
                                         "pack-quantized",
                                         "naive-quantized",
                                         "mixed-precision",
                                         "dense"};
constexpr std::string_view kAlgorithms[] = {"NVFP4", "W4A16_NVFP4", "FP8", "FP8_PER_CHANNEL_PER_TOKEN",
                                            "MIXED_PRECISION"};

std::string text_of(const Json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::vector<std::string> texts_of(const Json& object, const char* key) {
    std::vector<std::string> texts;
    const auto found = object.find(key);
    if (found == object.end() || !found->is_array()) return texts;
    for (const Json& one : *found) {
        if (one.is_string()) texts.push_back(one.get<std::string>());
    }
    return texts;
}

Result<void> check_listed(std::string_view file, std::string_view key, const std::string& value,
                          std::span<const std::string_view> supported) {
    if (value.empty() || std::find(supported.begin(), supported.end(), value) != supported.end()) return {};
    return fail(ErrorKind::unsupported, "{}: the config's {} '{}' is not supported (supported: {})", file, key,
                printable(value), fmt::join(supported, ", "));
}

// Matches like Python's re.match: from the start of the text to any end. A pattern that does not compile, or takes too
// long, matches nothing.
bool matches_regex(const std::string& pattern, std::string_view text) {
    int error = 0;
    PCRE2_SIZE at = 0;
    const std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code(
        pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_ANCHORED, &error, &at,
                      nullptr),
        pcre2_code_free);
    if (code == nullptr) return false;
    const std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> context(
        pcre2_match_context_create(nullptr), pcre2_match_context_free);
    pcre2_set_match_limit(context.get(), 100'000);
    const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
        pcre2_match_data_create_from_pattern(code.get(), nullptr), pcre2_match_data_free);
    return pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0, data.get(),
                       context.get()) > 0;
}

// The lists name modules as the program that wrote them did. Models with vision have since moved their text model below
// other roots.
std::string without_root(std::string_view module) {
    struct Root {
        std::string_view from, to;
    };
    for (const Root& root : {Root{"model.language_model.", "model."}, Root{"language_model.model.", "model."},
                             Root{"language_model.", ""}}) {
        if (module.starts_with(root.from)) return fmt::format("{}{}", root.to, module.substr(root.from.size()));
    }
    return std::string(module);
}

bool any_means(const std::vector<std::string>& entries, std::string_view module) {
    return std::any_of(entries.begin(), entries.end(),
                       [&](const std::string& entry) { return entry_means(entry, module); });
}

// The object `quantization` of params.json: FP8 with a scale for each tensor; those of activations are not used here.
Result<std::optional<QuantizationConfig>> read_mistral(const Json& params, const std::string& file) {
    const auto stated = params.find("quantization");
    if (stated == params.end() || stated->is_null()) return std::optional<QuantizationConfig>();
    if (!stated->is_object()) return fail("{}: the key 'quantization' must be an object", file);
    constexpr std::pair<std::string_view, std::string_view> kKnown[] = {{"qformat_weight", "fp8_e4m3"},
                                                                        {"qscheme_act", "TENSOR"}};
    for (const auto& [key, value] : stated->items()) {
        if (value.is_null()) continue;
        const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
        const auto* const known =
            std::find(std::begin(kKnown), std::end(kKnown), std::pair<std::string_view, std::string_view>(key, text));
        if (value.is_string() && known != std::end(kKnown)) continue;
        return fail(ErrorKind::unsupported,
                    "{}: the key 'quantization.{}' is {}, which is not supported (supported: qformat_weight 'fp8_e4m3' "
                    "and qscheme_act 'TENSOR')",
                    file, printable(key), printable(text, 80));
    }
    return std::optional<QuantizationConfig>({.method = "fp8"});
}

}  // namespace

bool entry_means(const std::string& entry, std::string_view module) {
    constexpr std::string_view kRegex = "re:";
    if (entry == "Linear") return true;
    const std::string bare = without_root(module);
    if (!entry.starts_with(kRegex)) return entry == module || without_root(entry) == bare;
    const std::string pattern = entry.substr(kRegex.size());
    return matches_regex(pattern, module) || matches_regex(pattern, bare);
}

bool QuantizationConfig::ignores(std::string_view module) const { return any_means(ignore, module); }
bool QuantizationConfig::means(std::string_view module) const { return any_means(targets, module); }

Result<std::optional<QuantizationConfig>> QuantizationConfig::read(const Checkpoint& checkpoint) {
    const ModelDirectory* directory = checkpoint.directory();
    if (directory == nullptr) return std::optional<QuantizationConfig>();
    const std::string& file = directory->config_name();
    if (checkpoint.dialect() == Dialect::mistral) return read_mistral(checkpoint.config(), file);
    QuantizationConfig config;
    const Json* stated = directory->quantization_config();
    const Json* modelopt = directory->hf_quant_config();
    if (stated == nullptr && modelopt == nullptr) return std::optional<QuantizationConfig>();
    config.method = stated == nullptr ? "modelopt" : text_of(*stated, "quant_method");
    TRY(check_listed(file, "quant_method", config.method, kMethods));
    for (const Json* one : {stated, modelopt}) {
        if (one == nullptr) continue;
        TRY(check_listed(file, "quant_algo", text_of(*one, "quant_algo"), kAlgorithms));
        for (const char* key : {"ignore", "exclude_modules", "modules_to_not_convert"}) {
            const std::vector<std::string> more = texts_of(*one, key);
            config.ignore.insert(config.ignore.end(), more.begin(), more.end());
        }
    }
    if (stated == nullptr || config.method != "compressed-tensors")
        return std::optional<QuantizationConfig>(std::move(config));
    TRY(check_listed(file, "quantisation format", text_of(*stated, "format"), kFormats));
    config.ignore_is_complete = true;
    const auto groups = stated->find("config_groups");
    if (groups == stated->end() || !groups->is_object()) return std::optional<QuantizationConfig>(std::move(config));
    for (const auto& [name, group] : groups->items()) {
        TRY(check_listed(file, "quantisation format", text_of(group, "format"), kFormats));
        const std::vector<std::string> more = texts_of(group, "targets");
        config.targets.insert(config.targets.end(), more.begin(), more.end());
    }
    return std::optional<QuantizationConfig>(std::move(config));
}

}  // namespace invar
