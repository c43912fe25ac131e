#include "embed/module_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <set>

#include "files/json_document.h"
#include "files/printable.h"

namespace invar {
namespace {

constexpr uint64_t kMostBytes = 1 << 20;
constexpr std::string_view kSentenceBert = "sentence_bert_config.json";
constexpr std::string_view kSentenceTransformers = "config_sentence_transformers.json";
constexpr int64_t kMostTokens = int64_t{1} << 24;
constexpr size_t kMostPrompts = 1024;

std::string shown(const Json& value) {
    if (value.is_string()) return fmt::format("'{}'", printable(value.get_ref<const std::string&>()));
    return value.is_structured() ? std::string(kind_of(value)) : value.dump();
}

bool says_nothing(const Json& value) {
    return value.is_null() || value == false || (value.is_structured() && value.empty()) || value == "";
}

// The keys of one object. Each is asked for once; refuse_others() then finds those that nobody asked for.
class Keys {
  public:
    Keys(const Json& object, const std::string& file) : object_(object), file_(file) {}

    // Null where the key is missing or null.
    const Json* find(std::string_view key) {
        asked_.insert(key);
        const auto value = object_.find(key);
        return value == object_.end() || value->is_null() ? nullptr : &*value;
    }

    Result<bool> flag(std::string_view key, bool otherwise) {
        const Json* value = find(key);
        if (value == nullptr) return otherwise;
        if (value->is_boolean()) return value->get<bool>();
        return fail("{}: the key '{}' is {}, but true or false is needed", file_, key, shown(*value));
    }

    // From 1 to `most`; 0 where the key is missing.
    Result<int64_t> count(std::string_view key, int64_t most) {
        const Json* value = find(key);
        if (value == nullptr) return 0;
        if (value->is_number_integer() && *value >= 1 && *value <= most) return value->get<int64_t>();
        return fail("{}: the key '{}' is {}, but a whole number from 1 to {} is needed", file_, key, shown(*value),
                    most);
    }

    Result<std::string> text(std::string_view key, std::string_view otherwise) {
        const Json* value = find(key);
        if (value == nullptr) return std::string(otherwise);
        if (value->is_string()) return value->get<std::string>();
        return fail("{}: the key '{}' is {}, but a text is needed", file_, key, shown(*value));
    }

    // Fails unless the key is missing or is one of these.
    Result<void> only(std::string_view key, std::initializer_list<std::string_view> values) {
        TRY_ASSIGN(const std::string value, text(key, *values.begin()));
        if (std::find(values.begin(), values.end(), value) != values.end()) return {};
        return fail(ErrorKind::unsupported, "{}: the key '{}' is '{}', but only {} is computed", file_, key,
                    printable(value), fmt::join(values, " or "));
    }

    Result<void> refuse_others() const {
        for (const auto& [key, value] : object_.items()) {
            if (asked_.contains(key) || says_nothing(value)) continue;
            return fail(ErrorKind::unsupported, "{}: the key '{}' is {}; what it changes is not known here", file_,
                        printable(key), shown(value));
        }
        return {};
    }

  private:
    const Json& object_;
    const std::string& file_;
    std::set<std::string_view, std::less<>> asked_;
};

Result<void> check_has_config(const SentenceModule& module) {
    if (module.config.is_object()) return {};
    return fail("{}: is missing, but it says what the module does; copy it from where the weights come from",
                module.config_name);
}

// In the order in which their results stand one behind the other.
struct ModeKey {
    std::string_view key, name;  // the key that turns it on, and its name in `pooling_mode`
    Pooling mode;
};
constexpr std::array<ModeKey, 6> kModes = {
    {{"pooling_mode_cls_token", "cls", Pooling::cls},
     {"pooling_mode_max_tokens", "max", Pooling::max},
     {"pooling_mode_mean_tokens", "mean", Pooling::mean},
     {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", Pooling::mean_sqrt_length},
     {"pooling_mode_weightedmean_tokens", "weightedmean", Pooling::weighted_mean},
     {"pooling_mode_lasttoken", "lasttoken", Pooling::last}}};

Result<Pooling> mode_named(const Json& name, const std::string& file) {
    for (const ModeKey& one : kModes) {
        if (name.is_string() && name.get_ref<const std::string&>() == one.name) return one.mode;
    }
    return fail(ErrorKind::unsupported,
                "{}: the key 'pooling_mode' is {}, which is none of the modes that are computed", file, shown(name));
}

// The key of newer files: a name, or a list of them.
Result<std::vector<Pooling>> modes_of(const Json& value, const std::string& file) {
    std::vector<Pooling> modes;
    if (!value.is_array()) {
        TRY_ASSIGN(const Pooling mode, mode_named(value, file));
        return std::vector<Pooling>{mode};
    }
    if (value.empty() || value.size() > kModes.size())
        return fail("{}: the key 'pooling_mode' lists {} modes; from 1 to {} are possible", file, value.size(),
                    kModes.size());
    for (const Json& name : value) {
        TRY_ASSIGN(const Pooling mode, mode_named(name, file));
        modes.push_back(mode);
    }
    return modes;
}

Result<void> check_width(Keys& keys, const std::string& file, int64_t width) {
    for (const std::string_view key : {"embedding_dimension", "word_embedding_dimension"}) {
        TRY_ASSIGN(const int64_t stated, keys.count(key, INT32_MAX));
        if (stated != 0 && stated != width)
            return fail("{}: the key '{}' is {}, but the model gives {} elements a token", file, key, stated, width);
    }
    return {};
}

// Reads a side file that may be missing; null then.
Result<Json> optional_object(const ModelDirectory& directory, std::string_view file) {
    if (!directory.has(file)) return Json();
    TRY_ASSIGN(Json value, directory.read_json(file, kMostBytes));
    if (value.is_object()) return value;
    return fail("{}: is {}, but an object is needed", directory.name_of(file), kind_of(value));
}

}  // namespace

Result<void> read_pooling_module(const SentenceModule& module, int64_t width, EmbeddingConfig& config) {
    TRY(check_has_config(module));
    Keys keys(module.config, module.config_name);
    TRY(check_width(keys, module.config_name, width));
    TRY_ASSIGN(config.pools_prompt, keys.flag("include_prompt", true));
    const Json* named = keys.find("pooling_mode");
    for (const ModeKey& one : kModes) {
        TRY_ASSIGN(const bool on, keys.flag(one.key, false));
        if (on && named == nullptr) config.pooling.push_back(one.mode);
    }
    if (named != nullptr) {
        TRY_ASSIGN(config.pooling, modes_of(*named, module.config_name));
    }
    if (config.pooling.empty()) return fail("{}: turns no mode of pooling on", module.config_name);
    return keys.refuse_others();
}

Result<DenseActivation> read_dense_module(const SentenceModule& module, const DenseTensors& tensors) {
    TRY(check_has_config(module));
    Keys keys(module.config, module.config_name);
    TRY_ASSIGN(const int64_t inputs, keys.count("in_features", INT32_MAX));
    TRY_ASSIGN(const int64_t outputs, keys.count("out_features", INT32_MAX));
    if (inputs != tensors.inputs || outputs != tensors.outputs) {
        return fail(
            "{}: 'in_features' and 'out_features' are {} and {}, but tensor '{}' takes {} elements and makes {}",
            module.config_name, inputs, outputs, printable(tensors.weight), tensors.inputs, tensors.outputs);
    }
    TRY_ASSIGN(const bool biased, keys.flag("bias", true));
    if (biased == tensors.bias.empty()) {
        return fail("{}: the key 'bias' is {}, but tensor '{}/linear.bias' is {}", module.config_name, biased,
                    module.folder, biased ? "missing" : "there");
    }
    TRY(keys.only("module_input_name", {"sentence_embedding"}));
    TRY(keys.only("module_output_name", {"sentence_embedding"}));
    TRY_ASSIGN(const std::string activation, keys.text("activation_function", "torch.nn.modules.activation.Tanh"));
    TRY(keys.refuse_others());
    const std::string name = activation.substr(activation.rfind('.') + 1);
    if (activation.starts_with("torch.nn.") && name == "Identity") return DenseActivation::identity;
    if (activation.starts_with("torch.nn.") && name == "Tanh") return DenseActivation::tanh;
    return fail(ErrorKind::unsupported,
                "{}: the key 'activation_function' is '{}', but only torch's Identity and Tanh are computed",
                module.config_name, printable(activation));
}

Result<void> read_normalize_module(const SentenceModule& module) {
    if (module.config.is_null()) return {};
    Keys keys(module.config, module.config_name);
    TRY(keys.only("module_input_name", {"sentence_embedding"}));
    TRY(keys.only("module_output_name", {"sentence_embedding"}));
    return keys.refuse_others();
}

Result<void> read_transformer_settings(const ModelDirectory& directory, EmbeddingConfig& config) {
    TRY_ASSIGN(const Json object, optional_object(directory, kSentenceBert));
    if (object.is_null()) return {};
    const std::string file = directory.name_of(kSentenceBert);
    Keys keys(object, file);
    TRY_ASSIGN(config.most_tokens, keys.count("max_seq_length", kMostTokens));
    TRY(keys.only("transformer_task", {"feature-extraction"}));
    TRY(keys.only("module_output_name", {"token_embeddings"}));
    (void)keys.find("unpad_inputs");  // how a batch is laid out, which changes no result
    if (const Json* modalities = keys.find("modality_config")) {
        const auto text = modalities->is_object() ? modalities->find("text") : modalities->end();
        if (text == modalities->end() || !text->is_object())
            return fail("{}: the key 'modality_config' has no entry 'text'", file);
        Keys of_text(*text, file);
        TRY(of_text.only("method", {"forward"}));
        TRY(of_text.only("method_output_name", {"last_hidden_state"}));
    }
    return keys.refuse_others();
}

Result<void> read_prompts(const ModelDirectory& directory, EmbeddingConfig& config) {
    TRY_ASSIGN(const Json object, optional_object(directory, kSentenceTransformers));
    if (object.is_null()) return {};
    const std::string file = directory.name_of(kSentenceTransformers);
    Keys keys(object, file);
    TRY(keys.only("model_type", {"SentenceTransformer"}));
    TRY_ASSIGN(config.default_prompt, keys.text("default_prompt_name", ""));
    const Json* prompts = keys.find("prompts");
    if (prompts != nullptr && !prompts->is_object())
        return fail("{}: the key 'prompts' is {}, but an object of texts is needed", file, shown(*prompts));
    if (prompts != nullptr && prompts->size() > kMostPrompts)
        return fail("{}: the key 'prompts' has {} entries; at most {} are read", file, prompts->size(), kMostPrompts);
    const Json none = Json::object();
    for (const auto& [name, text] : (prompts == nullptr ? none : *prompts).items()) {
        if (!text.is_string())
            return fail("{}: the prompt '{}' is {}, but a text is needed", file, printable(name), shown(text));
        config.prompts.push_back({name, text.get<std::string>()});
    }
    const auto used = std::find_if(config.prompts.begin(), config.prompts.end(),
                                   [&](const EmbeddingPrompt& prompt) { return prompt.name == config.default_prompt; });
    if (config.default_prompt.empty() || used != config.prompts.end()) return {};
    return fail("{}: the key 'default_prompt_name' is '{}', but there is no such prompt", file,
                printable(config.default_prompt));
}

}  // namespace invar
