// Finds the value of a word in each dialect and checks each type of value: see hyperparameters.h. The words and their
// keys are in hyperparameter_tables.cpp, the defaults in class_defaults.cpp.
#include "models/hyperparameters.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/json.h"
#include "files/json_document.h"
#include "files/model_directory.h"
#include "files/printable.h"
#include "models/hyperparameter_tables.h"

namespace invar {
namespace {

// "tied head" is the only one that is true (1) or false.
Json value_of(const ClassDefault& one) { return one.word == "tied head" ? Json(one.value != 0) : Json(one.value); }

// What params.json calls every kind of model.
constexpr std::string_view kTransformer = "transformer";

const Word& find_word(std::string_view ours) {
    const auto found =
        std::find_if(words().begin(), words().end(), [&](const Word& word) { return word.ours == ours; });
    CHECK(found != words().end(), "only words of the table are asked for");
    return *found;
}

// The value at "a.b" of an object; null if a part is missing.
const Json* at_path(const Json& object, std::string_view path) {
    const Json* at = &object;
    while (true) {
        if (!at->is_object()) return nullptr;
        const size_t dot = path.find('.');
        const auto found = at->find(std::string(path.substr(0, dot)));
        if (found == at->end()) return nullptr;
        at = &*found;
        if (dot == std::string_view::npos) return at;
        path.remove_prefix(dot + 1);
    }
}

std::string shown(const Json& value) {
    return value.is_string() ? "'" + printable(value.get_ref<const std::string&>()) + "'" : printable(value.dump());
}

thread_local AskedWords* asked_words = nullptr;

std::optional<int64_t> as_integer(const Json& value) {
    if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
    if (value.is_number_integer()) return value.get<int64_t>();
    if (!value.is_number_float()) return std::nullopt;
    const double number = value.get<double>();
    if (std::trunc(number) != number || std::fabs(number) > 0x1p53) return std::nullopt;
    return static_cast<int64_t>(number);
}

}  // namespace

AskedWords::AskedWords() : outer_(asked_words) { asked_words = this; }
AskedWords::~AskedWords() {
    CHECK(asked_words == this, "the last one made is destroyed first");
    asked_words = outer_;
}

void AskedWords::note_word(std::string_view word) {
    for (AskedWords* one = asked_words; one != nullptr; one = one->outer_) one->words_.emplace(word);
}
void AskedWords::note_number(std::string_view word) {
    for (AskedWords* one = asked_words; one != nullptr; one = one->outer_) one->numbers_.emplace(word);
}

Result<std::string> Hyperparameters::architecture(const Checkpoint& checkpoint) {
    if (checkpoint.dialect() == Dialect::gguf) {
        TRY_ASSIGN(const std::string_view name, checkpoint.metadata().string("general.architecture"));
        return std::string(name);
    }
    if (checkpoint.dialect() == Dialect::mistral) {
        const Json* scaled = at_path(checkpoint.config(), "llama_4_scaling");
        return std::string(scaled != nullptr && !scaled->is_null() ? "ministral3" : "mistral");
    }
    const Json& whole = checkpoint.directory()->config();
    const auto text = whole.find("text_config");
    if (text != whole.end() && !text->is_null() && !text->is_object()) {
        return fail("{}: the key 'text_config' is {}, but an object is needed", checkpoint.directory()->config_name(),
                    kind_of(*text));
    }
    const auto& config = checkpoint.config();
    const auto found = config.find("model_type");
    if (found == config.end() || !found->is_string()) {
        return fail("{}: config.json has no text 'model_type', which names the architecture", checkpoint.name());
    }
    return found->get<std::string>();
}

Hyperparameters::Hyperparameters(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {
    kind_ = checkpoint.dialect() == Dialect::mistral ? kTransformer : architecture(checkpoint).value_or("");
}

const std::vector<std::string_view>& Hyperparameters::paths(std::string_view word) const {
    const Word& found = find_word(word);
    return checkpoint_.dialect() == Dialect::mistral ? found.mistral : found.hugging_face;
}

std::string Hyperparameters::key(std::string_view word) const {
    AskedWords::note_word(word);
    if (checkpoint_.dialect() == Dialect::gguf) {
        const std::string_view gguf = find_word(word).gguf;
        return gguf.empty() ? std::string() : fmt::format("{}.{}", kind_, gguf);
    }
    const std::vector<std::string_view>& all = paths(word);
    std::string_view null;
    for (const std::string_view path : all) {
        const Json* value = at_path(checkpoint_.config(), path);
        if (value != nullptr && !value->is_null()) return std::string(path);
        if (value != nullptr) null = path;
    }
    return std::string(!null.empty() ? null : absent_key(word));
}

std::string_view Hyperparameters::absent_key(std::string_view word) const {
    std::string_view deepest;
    int64_t depth = 0;
    const std::vector<std::string_view>& all = paths(word);
    for (const std::string_view path : all) {
        const int64_t dots = std::count(path.begin(), path.end(), '.');
        if (dots <= depth) continue;
        const Json* object = at_path(checkpoint_.config(), path.substr(0, path.rfind('.')));
        if (object == nullptr || !object->is_object()) continue;
        deepest = path;
        depth = dots;
    }
    if (!deepest.empty()) return deepest;
    for (const UsualKey& one : usual_keys())
        if (checkpoint_.dialect() == Dialect::hugging_face && kind_.starts_with(one.kinds) && one.word == word)
            return one.key;
    return all.empty() ? std::string_view() : all.back();
}

std::string Hyperparameters::spell(std::string_view word) const {
    return fmt::format("{} '{}'", checkpoint_.dialect() == Dialect::gguf ? "metadata key" : "the key", key(word));
}

const Json* Hyperparameters::find(std::string_view word) const {
    bool stated = false;
    for (const std::string_view path : paths(word)) {
        const Json* value = at_path(checkpoint_.config(), path);
        if (value != nullptr && !value->is_null()) return value;
        stated = stated || value != nullptr;
    }
    if (stated) return nullptr;
    for (const ClassDefault& one : class_defaults()) {
        if (one.model_type != kind_ || one.word != word) continue;
        static const std::vector<Json> values = [] {
            std::vector<Json> list;
            for (const ClassDefault& each : class_defaults()) list.push_back(value_of(each));
            return list;
        }();
        return &values[static_cast<size_t>(&one - class_defaults().data())];
    }
    return nullptr;
}

const Json* Hyperparameters::stated(std::string_view word) const {
    return checkpoint_.dialect() == Dialect::gguf ? nullptr : find(word);
}

bool Hyperparameters::has(std::string_view word) const {
    if (checkpoint_.dialect() != Dialect::gguf) return find(word) != nullptr;
    const std::string name = key(word);
    return !name.empty() && checkpoint_.metadata().has(name);
}

Result<void> Hyperparameters::check_spellings() const {
    if (checkpoint_.dialect() != Dialect::hugging_face) return {};
    for (const Word& word : words()) {
        const Json* first = nullptr;
        std::string_view first_path;
        for (const std::string_view path : word.hugging_face) {
            const Json* value = at_path(checkpoint_.config(), path);
            if (value == nullptr || value->is_null()) continue;
            if (first != nullptr && *first != *value) {
                return fail("{}: the key '{}' is {}, but '{}' is {}; both mean the same, so only one can be right",
                            checkpoint_.directory()->config_name(), first_path, shown(*first), path, shown(*value));
            }
            if (first == nullptr) first_path = path;
            first = value;
        }
    }
    return {};
}

std::vector<std::string> Hyperparameters::defaults_taken() const {
    std::vector<std::string> taken;
    if (checkpoint_.dialect() == Dialect::gguf) return taken;
    for (const ClassDefault& one : class_defaults()) {
        if (one.model_type != kind_) continue;
        const std::vector<std::string_view>& all = paths(one.word);
        const bool stated = std::any_of(all.begin(), all.end(), [&](std::string_view path) {
            return at_path(checkpoint_.config(), path) != nullptr;
        });
        const Json value = value_of(one);
        const std::string note = fmt::format("{} is absent; {} is what model type {} has then", spell(one.word),
                                             value.is_boolean() ? value.dump() : fmt::format("{}", one.value), kind_);
        if (!stated && std::find(taken.begin(), taken.end(), note) == taken.end()) taken.push_back(note);
    }
    return taken;
}

Result<int64_t> Hyperparameters::integer(std::string_view word, int64_t low, int64_t high) const {
    int64_t value = 0;
    if (checkpoint_.dialect() == Dialect::gguf) {
        TRY_ASSIGN(value, checkpoint_.metadata().signed_integer(key(word)));
    } else {
        const Json* found = find(word);
        if (found == nullptr) return fail("{}: {} is missing in the config, but is needed", file(), spell(word));
        const std::optional<int64_t> number = as_integer(*found);
        if (!number) return fail("{}: {} of the config must be an integer", file(), spell(word));
        value = *number;
    }
    if (value < low || value > high)
        return fail("{}: {} is {}, but must be between {} and {}", file(), spell(word), value, low, high);
    return value;
}

Result<std::vector<int64_t>> Hyperparameters::integers(std::string_view word, int64_t low, int64_t high) const {
    std::vector<int64_t> all;
    if (checkpoint_.dialect() == Dialect::gguf) {
        TRY_ASSIGN(all, checkpoint_.metadata().integers(key(word)));
    } else {
        const Json* found = find(word);
        if (found == nullptr || !found->is_array())
            return fail("{}: {} of the config must be a list of integers", file(), spell(word));
        for (const Json& one : *found) {
            const std::optional<int64_t> number = as_integer(one);
            if (!number) return fail("{}: {} of the config must be a list of integers", file(), spell(word));
            all.push_back(*number);
        }
    }
    for (const int64_t one : all) {
        if (one < low || one > high)
            return fail("{}: {} contains {}, but must be between {} and {}", file(), spell(word), one, low, high);
    }
    return all;
}

Result<std::vector<bool>> Hyperparameters::booleans(std::string_view word) const {
    return checkpoint_.metadata().booleans(key(word));
}

Result<std::vector<int64_t>> Hyperparameters::for_each_layer(std::string_view word, size_t layers, int64_t low,
                                                             int64_t high) const {
    const MetadataValue* value =
        checkpoint_.dialect() == Dialect::gguf ? checkpoint_.metadata().find(key(word)) : nullptr;
    if (value == nullptr || !value->is_array()) {
        TRY_ASSIGN(const int64_t one, integer(word, low, high));
        return std::vector<int64_t>(layers, one);
    }
    TRY_ASSIGN(std::vector<int64_t> all, integers(word, low, high));
    if (all.size() != layers)
        return fail("{}: {} has {} numbers, but the model has {} layers", file(), spell(word), all.size(), layers);
    return all;
}

Result<std::vector<double>> Hyperparameters::numbers(std::string_view word) const {
    const Json* found = find(word);
    std::vector<double> all;
    if (found == nullptr || !found->is_array())
        return fail("{}: {} of the config must be a list of numbers", file(), spell(word));
    for (const Json& one : *found) {
        if (!one.is_number()) return fail("{}: {} of the config must be a list of numbers", file(), spell(word));
        all.push_back(one.get<double>());
    }
    return all;
}

Result<double> Hyperparameters::number(std::string_view word) const {
    AskedWords::note_number(word);
    if (checkpoint_.dialect() == Dialect::gguf) return checkpoint_.metadata().number(key(word));
    const Json* found = find(word);
    if (found == nullptr) return fail("{}: {} is missing in the config, but is needed", file(), spell(word));
    if (!found->is_number()) return fail("{}: {} of the config must be a number", file(), spell(word));
    return found->get<double>();
}

Result<double> Hyperparameters::positive(std::string_view word) const {
    TRY_ASSIGN(const double value, number(word));
    if (!(value > 0) || !std::isfinite(value))
        return fail("{}: {} is {}, but must be a positive number", file(), spell(word), value);
    using Binary32 = std::numeric_limits<float>;
    if (value > static_cast<double>(Binary32::max()) || value < static_cast<double>(Binary32::min())) {
        return fail("{}: {} is {}, but must be a positive number that binary32 holds ({:.3g} to {:.3g})", file(),
                    spell(word), value, Binary32::min(), Binary32::max());
    }
    return value;
}

Result<double> Hyperparameters::positive_or(std::string_view word, double otherwise) const {
    if (!has(word)) return otherwise;
    return positive(word);
}

Result<std::string> Hyperparameters::text(std::string_view word) const {
    if (checkpoint_.dialect() == Dialect::gguf) {
        TRY_ASSIGN(const std::string_view value, checkpoint_.metadata().string(key(word)));
        return std::string(value);
    }
    const Json* found = find(word);
    if (found == nullptr || !found->is_string())
        return fail("{}: {} of the config must be a text", file(), spell(word));
    return found->get<std::string>();
}

Result<std::vector<std::string>> Hyperparameters::texts(std::string_view word) const {
    const Json* found = find(word);
    std::vector<std::string> all;
    if (found == nullptr || !found->is_array())
        return fail("{}: {} of the config must be a list of texts", file(), spell(word));
    for (const Json& one : *found) {
        if (!one.is_string()) return fail("{}: {} of the config must be a list of texts", file(), spell(word));
        all.push_back(one.get<std::string>());
    }
    return all;
}

Result<std::vector<std::string>> Hyperparameters::kinds_of_layers(std::string_view word, size_t layers) const {
    TRY_ASSIGN(std::vector<std::string> kinds, texts(word));
    if (kinds.size() == layers) return kinds;
    return fail("{}: {} names the kinds of {} layers, but the model has {}", file(), spell(word), kinds.size(), layers);
}

Result<bool> Hyperparameters::boolean_or(std::string_view word, bool otherwise) const {
    if (!has(word)) return otherwise;
    if (checkpoint_.dialect() == Dialect::gguf) return checkpoint_.metadata().boolean(key(word));
    const Json* found = find(word);
    if (!found->is_boolean()) return fail("{}: {} of the config must be true or false", file(), spell(word));
    return found->get<bool>();
}

bool Hyperparameters::is_list(std::string_view word) const {
    if (checkpoint_.dialect() != Dialect::gguf) return find(word) != nullptr && find(word)->is_array();
    const MetadataValue* value = checkpoint_.metadata().find(key(word));
    return value != nullptr && value->is_array();
}

Result<bool> Hyperparameters::boolean_at_top(std::string_view word, bool otherwise) const {
    if (checkpoint_.directory() == nullptr) return otherwise;
    for (const std::string_view path : paths(word)) {
        const Json* found = at_path(checkpoint_.directory()->config(), path);
        if (found == nullptr || found->is_null()) continue;
        if (!found->is_boolean()) return fail("{}: the key '{}' of the config must be true or false", file(), path);
        return found->get<bool>();
    }
    return otherwise;
}

}  // namespace invar
