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

int64_t integer_of(const Json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
}

Result<void> check_listed(std::string_view file, std::string_view key, const std::string& value,
                          std::span<const std::string_view> supported) {
    if (value.empty() || std::find(supported.begin(), supported.end(), value) != supported.end()) return {};
    return fail(ErrorKind::unsupported, "{}: the config's {} '{}' is not supported (supported: {})", file, key,
                printable(value), fmt::join(supported, ", "));
}

const std::string kEveryModule[] = {"Linear"};
constexpr std::string_view kRegex = "re:";
using Regex = std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)>;

// Compiles an expression; null, and in `fault` why and where, if it is broken.
Regex compile(const std::string& pattern, std::string& fault) {
    int error = 0;
    PCRE2_SIZE at = 0;
    Regex code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_ANCHORED, &error, &at,
                             nullptr),
               pcre2_code_free);
    if (code == nullptr) {
        PCRE2_UCHAR text[256] = {};
        pcre2_get_error_message(error, text, sizeof text);
        fault = fmt::format("{} at byte {}", reinterpret_cast<const char*>(text), at);
    }
    return code;
}

// The texts of a list of names and expressions; an absent one or null is empty.
Result<std::vector<std::string>> entries_of(const Json& object, const char* key, const std::string& file) {
    std::vector<std::string> texts;
    const auto found = object.find(key);
    if (found == object.end() || found->is_null()) return texts;
    const bool all_texts =
        found->is_array() && std::all_of(found->begin(), found->end(), [](const Json& one) { return one.is_string(); });
    if (!all_texts) return fail("{}: the quantisation's key '{}' must be a list of texts", file, key);
    for (const Json& one : *found) {
        texts.push_back(one.get<std::string>());
        if (!texts.back().starts_with(kRegex)) continue;
        std::string fault;
        if (compile(texts.back().substr(kRegex.size()), fault) != nullptr) continue;
        return fail("{}: the quantisation's list '{}' has the broken regular expression '{}' ({})", file, key,
                    printable(texts.back()), fault);
    }
    return texts;
}

// The lists name modules as the program that wrote them did. Models with vision have since moved their text model below
// other roots. The result is the module's own text, or is in `room`.
std::string_view without_root(std::string_view module, std::string& room) {
    struct Root {
        std::string_view from, to;
    };
    for (const Root& root : {Root{"model.language_model.", "model."}, Root{"language_model.model.", "model."},
                             Root{"language_model.", ""}}) {
        if (!module.starts_with(root.from)) continue;
        room = root.to;
        return room.append(module.substr(root.from.size()));
    }
    return module;
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
    if (text_of(*stated, "qformat_weight").empty()) return std::optional<QuantizationConfig>();
    return std::optional<QuantizationConfig>({.method = "fp8"});
}

// Weights that were rotated, or stored without their zeros, are other weights than their tensors hold. Both objects are
// empty in most files; older ones state that weights with zeros among them are stored densely.
Result<void> check_extras(const Json& stated, const std::string& file) {
    const auto transform = stated.find("transform_config");
    if (transform != stated.end() && !transform->empty() &&
        (!transform->is_object() || transform->size() != 1 || !transform->contains("config_groups") ||
         !transform->at("config_groups").empty())) {
        return fail(ErrorKind::unsupported,
                    "{}: the quantisation's 'transform_config' states transformed weights, which are not supported",
                    file);
    }
    const auto sparsity = stated.find("sparsity_config");
    if (sparsity != stated.end() && !sparsity->empty() && text_of(*sparsity, "format") != "dense") {
        return fail(ErrorKind::unsupported,
                    "{}: the quantisation's 'sparsity_config' states sparse weights, which are not supported", file);
    }
    return {};
}

// The keys of quant_method fp8: scales for blocks of 128 x 128, or none for blocks.
Result<void> check_fp8(const Json& stated, const std::string& file) {
    constexpr std::string_view kTypes[] = {"e4m3", "float8_e4m3fn"};
    TRY(check_listed(file, "quantization_config.fmt", text_of(stated, "fmt"), kTypes));
    const auto size = stated.find("weight_block_size");
    if (size == stated.end() || size->is_null() || *size == Json::array({128, 128})) return {};
    return fail(ErrorKind::unsupported,
                "{}: the config's weight_block_size is {}, which is not supported (supported: [128,128])", file,
                printable(size->dump(), 80));
}

Result<QuantizationGroup> read_group(const Json& stated, const std::string& format, const std::string& file) {
    QuantizationGroup group;
    group.format = text_of(stated, "format");
    TRY(check_listed(file, "quantisation format", group.format, kFormats));
    if (group.format.empty()) group.format = format;
    TRY_ASSIGN(const std::vector<std::string> targets, entries_of(stated, "targets", file));
    group.targets = ModuleList(targets);
    const auto weights = stated.find("weights");
    if (weights == stated.end() || !weights->is_object()) return group;
    group.type = text_of(*weights, "type");
    group.bits = integer_of(*weights, "num_bits");
    group.group_size = integer_of(*weights, "group_size");
    const auto symmetric = weights->find("symmetric");
    group.symmetric = symmetric == weights->end() || *symmetric != Json(false);
    return group;
}

Result<std::vector<QuantizationGroup>> read_groups(const Json& stated, const std::string& format,
                                                   const std::string& file) {
    std::vector<QuantizationGroup> groups;
    const auto found = stated.find("config_groups");
    if (found == stated.end() || found->is_null()) return groups;
    if (!found->is_object()) return fail("{}: the quantisation's key 'config_groups' must be an object", file);
    for (const auto& [name, group] : found->items()) {
        if (!group.is_object())
            return fail("{}: the quantisation's key 'config_groups.{}' must be an object", file, printable(name));
        TRY_ASSIGN(QuantizationGroup one, read_group(group, format, file));
        if (!format.empty() && format != "mixed-precision" && one.format != format) {
            return fail(
                "{}: the quantisation's format is '{}', but its group '{}' states '{}'; only one of them can be meant",
                file, format, printable(name), one.format);
        }
        groups.push_back(std::move(one));
    }
    return groups;
}

// The key of a group that says otherwise than the tensors, and its value; empty if none does.
std::string contradiction(const QuantizationGroup& group, const StoredWeight& weight) {
    const bool f8 = weight.format->id == FormatId::f8_e4m3 || weight.format->id == FormatId::f8_e4m3_b128;
    const bool nvfp4 = weight.packing == CodePacking::nvfp4_pairs, mxfp4 = weight.packing == CodePacking::mxfp4_pairs;
    const bool int4 = weight.packing == CodePacking::int4_words;
    if (!f8 && !nvfp4 && !mxfp4 && !int4) return "";
    if (!group.type.empty() && group.type != (int4 ? "int" : "float"))
        return fmt::format("type '{}'", printable(group.type));
    if (group.bits != 0 && group.bits != (f8 ? 8 : 4)) return fmt::format("num_bits {}", group.bits);
    if (!group.symmetric) return "symmetric false";
    const int of_format = nvfp4 ? 16 : mxfp4 ? 32 : weight.format->block_weights;
    if (!f8 && group.group_size > 0 && group.group_size != of_format)
        return fmt::format("group_size {}", group.group_size);
    const std::string& format = group.format;
    const bool fits = format.empty() || format == "mixed-precision" ||
                      (f8 && (format == "float-quantized" || format == "naive-quantized")) ||
                      (nvfp4 && format == "nvfp4-pack-quantized") || (mxfp4 && format == "mxfp4-pack-quantized") ||
                      (int4 && format == "pack-quantized");
    return fits ? "" : fmt::format("format '{}'", format);
}

}  // namespace

// Matches like Python's re.match: from the start of the text to any end. An expression that takes too long matches
// nothing.
struct ModuleList::Expression {
    explicit Expression(Regex compiled)
        : code(std::move(compiled)),
          context(pcre2_match_context_create(nullptr), pcre2_match_context_free),
          data(pcre2_match_data_create_from_pattern(code.get(), nullptr), pcre2_match_data_free) {
        pcre2_set_match_limit(context.get(), 100'000);
    }
    bool matches(std::string_view text) const {
        return pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0, data.get(),
                           context.get()) > 0;
    }

    Regex code;
    std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> context;
    std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data;
};

ModuleList::ModuleList(std::span<const std::string> entries) {
    for (const std::string& entry : entries) {
        all_ = all_ || entry == "Linear";
        if (entry.starts_with(kRegex)) {
            std::string fault;
            if (Regex code = compile(entry.substr(kRegex.size()), fault))
                expressions_.push_back(std::make_shared<const Expression>(std::move(code)));
            continue;
        }
        std::string room;
        bare_names_.emplace(without_root(entry, room));
        names_.insert(entry);
    }
}

bool ModuleList::means(std::string_view module) const {
    if (all_ || names_.contains(module)) return true;
    std::string room;
    const std::string_view bare = without_root(module, room);
    return bare_names_.contains(bare) || std::any_of(expressions_.begin(), expressions_.end(), [&](const auto& one) {
               return one->matches(module) || one->matches(bare);
           });
}

bool QuantizationConfig::means(std::string_view module) const {
    return std::any_of(groups.begin(), groups.end(),
                       [&](const QuantizationGroup& group) { return group.targets.means(module); });
}

Result<void> QuantizationConfig::check(const std::string& file, std::string_view module,
                                       const StoredWeight& weight) const {
    // ModelOpt's list also names modules for other reasons than their weights.
    if (method != "modelopt" && ignores(module)) {
        return fail(
            "{}: the config's list of modules that are not quantised names '{}', whose weights are stored as {}; take "
            "the config that was written with the weights",
            file, printable(module), weight.format->name);
    }
    std::string stated;
    for (const QuantizationGroup& group : groups) {
        if (!group.targets.means(module)) continue;
        stated = contradiction(group, weight);
        if (stated.empty()) return {};  // a module may be meant by several groups
    }
    if (stated.empty()) return {};
    return fail(
        "{}: the config states {} for '{}', but its weights are stored as {}; take the config that was written with "
        "the weights",
        file, stated, printable(module), weight.format->name);
}

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
        // ModelOpt states the size of a group once for all modules.
        const int64_t group_size = integer_of(*one, "group_size");
        if (config.method == "modelopt" && group_size > 0)
            config.groups.push_back({.targets = ModuleList(kEveryModule), .group_size = group_size});
        for (const char* key : {"ignore", "exclude_modules", "modules_to_not_convert"}) {
            TRY_ASSIGN(const std::vector<std::string> more, entries_of(*one, key, file));
            config.ignore.insert(config.ignore.end(), more.begin(), more.end());
        }
    }
    config.ignored = ModuleList(config.ignore);
    if (stated != nullptr && config.method == "fp8") TRY(check_fp8(*stated, file));
    if (stated == nullptr || config.method != "compressed-tensors")
        return std::optional<QuantizationConfig>(std::move(config));
    const std::string format = text_of(*stated, "format");
    TRY(check_listed(file, "quantisation format", format, kFormats));
    TRY(check_extras(*stated, file));
    config.ignore_is_complete = true;
    TRY_ASSIGN(config.groups, read_groups(*stated, format, file));
    return std::optional<QuantizationConfig>(std::move(config));
}

}  // namespace invar
