// Tries an index, one file and a numbered set, for each usual name, and explains a directory without weights: see
// weight_files.h.
#include "files/weight_files.h"

#include <fmt/format.h>

#include <algorithm>

#include "files/model_directory.h"
#include "files/printable.h"

namespace invar {
namespace {

constexpr std::string_view kSuffix = ".safetensors";
constexpr std::string_view kIndexSuffix = ".safetensors.index.json";
constexpr std::string_view kAdapterConfig = "adapter_config.json";
constexpr std::string_view kAdapterWeights = "adapter_model.safetensors";

// A name such as "model-00002-of-00003.safetensors", taken apart.
struct Numbered {
    std::string stem;
    uint64_t number, count;
};
std::optional<Numbered> numbered(std::string_view name) {
    constexpr std::string_view kPattern = "-00000-of-00000.safetensors";
    if (name.size() <= kPattern.size()) return std::nullopt;
    const size_t stem = name.size() - kPattern.size();
    uint64_t numbers[2] = {0, 0};  // the digits before and after "-of-"
    for (size_t i = 0; i < kPattern.size(); ++i) {
        const char c = name[stem + i];
        if (kPattern[i] != '0') {
            if (c != kPattern[i]) return std::nullopt;
            continue;
        }
        if (c < '0' || c > '9') return std::nullopt;
        uint64_t& number = numbers[i < 9 ? 0 : 1];
        number = number * 10 + static_cast<uint64_t>(c - '0');
    }
    return Numbered{std::string(name.substr(0, stem)), numbers[0], numbers[1]};
}

std::string shard_name(std::string_view stem, uint64_t number, uint64_t count) {
    return fmt::format("{}-{:05}-of-{:05}.safetensors", stem, number, count);
}

Result<void> check_present(const Folder& folder, const WeightFiles& found) {
    for (const std::string& shard : found.files) {
        if (shard.find('/') != std::string::npos || folder.has(shard)) continue;  // opening it will tell
        return fail("{}: names the shard '{}', which is not in the directory; download it or give the right index",
                    folder.name_of(found.index_file), printable(shard));
    }
    return {};
}

Result<WeightFiles> by_index(const Folder& folder, const std::string& index_file) {
    WeightFiles found{.index_file = index_file};
    TRY_ASSIGN(const std::string text, folder.read(index_file, kShardIndexMostBytes));
    TRY_ASSIGN(found.index, parse_shard_index(text, folder.name_of(index_file)));
    found.files = found.index.shards;
    TRY(check_present(folder, found));
    return found;
}

// The set that the names imply: all numbers from 1 to the one count they state. Nothing if no file is numbered.
Result<WeightFiles> by_numbers(const Folder& folder, std::string_view stem) {
    WeightFiles found;
    uint64_t count = 0;
    for (const std::string& name : folder.names()) {
        const auto parts = numbered(name);
        if (!parts || parts->stem != stem) continue;
        if (count != 0 && parts->count != count) {
            return fail("{}: has shards of two sets, one of {} files and one of {} ('{}'); remove one of the sets",
                        folder.name(), count, parts->count, printable(name));
        }
        count = parts->count;
        if (parts->number == 0 || parts->number > count) {
            return fail("{}: is number {} of {}, which cannot be", folder.name_of(name), parts->number, count);
        }
        found.files.push_back(name);
    }
    if (count > kMostShards) {
        return fail("{}: has shards of a set of {}; at most {} are possible", folder.name(), count, kMostShards);
    }
    for (uint64_t number = 1; number <= count; ++number) {
        const std::string name = shard_name(stem, number, count);
        if (folder.has(name)) continue;
        return fail("{}: has {} of {} shards, but not '{}'; download it", folder.name(), found.files.size(), count,
                    printable(name));
    }
    return found;
}

// One stem's files. An index goes before a whole file, a whole file before a numbered set. Nothing if there is none.
Result<WeightFiles> of_stem(const Folder& folder, const std::string& stem) {
    const std::string whole = stem + std::string(kSuffix), index = stem + std::string(kIndexSuffix);
    if (folder.has(index)) {
        TRY_ASSIGN(WeightFiles found, by_index(folder, index));
        const bool listed = std::find(found.files.begin(), found.files.end(), whole) != found.files.end();
        if (folder.has(whole) && !listed) {
            return fail("{}: has '{}' and an index of other files, '{}'; remove the one that is not meant",
                        folder.name(), whole, index);
        }
        return found;
    }
    if (folder.has(whole)) return WeightFiles{.files = {whole}};
    return by_numbers(folder, stem);
}

// The first name that ends in `suffix`; "" if there is none.
std::string first_with(const Folder& folder, std::string_view suffix) {
    for (const std::string& name : folder.names()) {
        if (name.ends_with(suffix)) return name;
    }
    return {};
}

tl::unexpected<Error> is_adapter(const Folder& folder, std::string_view file) {
    return fail(ErrorKind::unsupported,
                "{}: is an adapter, which changes a base model and is not a model itself; merge it into its base model "
                "(merge_and_unload of peft), save that and give its directory",
                folder.name_of(file));
}

tl::unexpected<Error> no_weights(const Folder& folder) {
    if (folder.names().empty()) return fail("{}: has no files; a model directory is needed", folder.name());
    for (const std::string_view file : {kAdapterConfig, kAdapterWeights}) {
        if (folder.has(file)) return is_adapter(folder, file);
    }
    for (const std::string_view suffix : {".gguf"}) {
        const std::string name = first_with(folder, suffix);
        if (name.empty()) continue;
        return fail("{}: has no SafeTensors weights but the GGUF file '{}'; give that file", folder.name(),
                    printable(name));
    }
    for (const std::string_view suffix : {".bin.index.json", ".bin", ".pth", ".pt", ".ckpt"}) {
        const std::string name = first_with(folder, suffix);
        if (name.empty()) continue;
        return fail(
            "{}: has no SafeTensors weights but '{}', a PyTorch checkpoint, which can run code when it is read; load "
            "it with transformers and save it again with save_pretrained, or take a SafeTensors version of the model",
            folder.name(), printable(name));
    }
    const std::string other = first_with(folder, kSuffix);
    if (!other.empty()) {
        return fail("{}: has no model.safetensors and no index, but '{}'; give that file if it holds the model",
                    folder.name(), printable(other));
    }
    return fail("{}: has no weights: neither model.safetensors nor model.safetensors.index.json is there",
                folder.name());
}

// The weights that config.json, params.json or an index describes.
Result<WeightFiles> of_description(const Folder& folder, std::string_view file) {
    std::string stem(file.substr(0, file.size() - std::min(file.size(), kIndexSuffix.size())));
    if (file == "config.json") stem = "model";
    if (file == "params.json") stem = "consolidated";
    TRY_ASSIGN(WeightFiles found, of_stem(folder, stem));
    found.consolidated = stem == "consolidated";
    if (!found.files.empty()) return found;
    if (first_with(folder, kSuffix).empty()) return no_weights(folder);
    return fail(
        "{}: describes {}.safetensors, but the directory has neither that nor its shards; give the file that "
        "describes '{}', or that file",
        folder.name_of(file), stem, printable(first_with(folder, kSuffix)));
}

}  // namespace

Result<WeightFiles> find_weight_files(const Folder& folder, std::string_view only) {
    const std::string named(only);
    if (only == kAdapterWeights) return is_adapter(folder, only);
    if (!only.empty() && !only.ends_with(kSuffix)) return of_description(folder, only);
    if (!only.empty()) {
        const auto parts = numbered(only);
        const std::string stem =
            parts ? parts->stem : named.substr(0, named.size() - std::min(named.size(), kSuffix.size()));
        TRY_ASSIGN(WeightFiles found, of_stem(folder, parts ? stem : std::string("model")));
        if (std::find(found.files.begin(), found.files.end(), only) == found.files.end()) found = {.files = {named}};
        found.consolidated = stem == "consolidated";
        return found;
    }
    const bool hugging_face = folder.has("config.json");
    TRY_ASSIGN(WeightFiles found, of_stem(folder, "model"));
    if (found.files.empty()) {
        TRY_ASSIGN(found, of_stem(folder, "consolidated"));
        found.consolidated = !found.files.empty();
    }
    if (found.files.empty()) return no_weights(folder);
    if (found.consolidated && !folder.has("params.json")) {
        return fail("{}: has '{}' in Mistral's layout but no params.json, which describes it{}", folder.name(),
                    found.files[0], hugging_face ? "; config.json describes model.safetensors" : "");
    }
    return found;
}

}  // namespace invar
