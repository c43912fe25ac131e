// Checks the list entry by entry, then reads the config.json of each: see sentence_modules.h.
#include "files/sentence_modules.h"

#include <algorithm>

#include "files/json_document.h"
#include "files/printable.h"

namespace invar {
namespace {

constexpr uint64_t kMostBytes = 1 << 20;  // of modules.json and of each config.json
constexpr std::string_view kPackage = "sentence_transformers.";

Result<std::string> text_of(const Json& entry, std::string_view key, size_t index, const std::string& file) {
    const auto value = entry.find(key);
    if (value != entry.end() && value->is_string()) return value->get<std::string>();
    return fail("{}: the '{}' of entry {} is {}, but a text is needed", file, key, index,
                value == entry.end() ? std::string_view("missing") : kind_of(*value));
}

bool is_subfolder(std::string_view path) {
    return path.size() <= 255 && !path.starts_with('.') && std::all_of(path.begin(), path.end(), [](unsigned char c) {
               return c > ' ' && c < 127 && c != '/' && c != '\\';
           });
}

std::string kind_of_class(const std::string& name) {
    return name.starts_with(kPackage) ? name.substr(name.rfind('.') + 1) : name;
}

Result<void> read_config(const Folder& folder, SentenceModule& module) {
    const std::string file = module.folder + "/config.json";
    module.config_name = folder.name_of(file);
    module.has_weights = folder.has(module.weights());
    if (!folder.has(file)) return {};
    TRY_ASSIGN(const std::string text, folder.read(file, kMostBytes));
    TRY_ASSIGN(module.config, parse_json_document(text, module.config_name));
    if (module.config.is_object()) return {};
    return fail("{}: is {}, but an object is needed", module.config_name, kind_of(module.config));
}

}  // namespace

Result<std::vector<SentenceModule>> read_sentence_modules(const Folder& folder) {
    std::vector<SentenceModule> modules;
    if (!folder.has(kSentenceModules)) return modules;
    const std::string name = folder.name_of(kSentenceModules);
    TRY_ASSIGN(const std::string text, folder.read(kSentenceModules, kMostBytes));
    TRY_ASSIGN(const Json list, parse_json_document(text, name));
    if (!list.is_array()) return fail("{}: is {}, but a list of modules is needed", name, kind_of(list));
    if (list.size() > kMostSentenceModules)
        return fail("{}: lists {} modules; at most {} are read", name, list.size(), kMostSentenceModules);
    for (const Json& entry : list) {
        const size_t index = modules.size();
        if (!entry.is_object()) return fail("{}: entry {} is {}, but an object is needed", name, index, kind_of(entry));
        TRY_ASSIGN(const std::string type, text_of(entry, "type", index, name));
        TRY_ASSIGN(std::string path, text_of(entry, "path", index, name));
        if (!is_subfolder(path)) {
            return fail("{}: the 'path' of entry {} is '{}', but it must be the name of a subfolder", name, index,
                        printable(path));
        }
        const bool taken = std::any_of(modules.begin(), modules.end(),
                                       [&](const SentenceModule& other) { return other.folder == path; });
        if (taken) return fail("{}: two modules have the path '{}'", name, printable(path));
        SentenceModule module{.kind = kind_of_class(type), .folder = std::move(path)};
        if (!module.folder.empty()) TRY(read_config(folder, module));
        modules.push_back(std::move(module));
    }
    return modules;
}

}  // namespace invar
