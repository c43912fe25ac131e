// Finds and opens the files of a directory, and compares index, headers and configs with each other: see
// model_directory.h.
#include "files/model_directory.h"

#include <algorithm>
#include <system_error>

#include "base/check.h"
#include "base/hash.h"
#include "base/json.h"
#include "files/json_document.h"
#include "files/printable.h"
#include "files/quantization_files.h"
#include "files/sentence_modules.h"
#include "files/weight_files.h"

namespace invar {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kConfig = "config.json";
constexpr std::string_view kParams = "params.json";
constexpr std::string_view kGeneration = "generation_config.json";
constexpr std::string_view kQuantConfig = "hf_quant_config.json";

Result<Json> read_object(const Folder& folder, std::string_view file) {
    const std::string name = folder.name_of(file);
    TRY_ASSIGN(const std::string text, folder.read(file, kConfigMostBytes));
    TRY_ASSIGN(Json value, parse_json_document(text, name));
    if (!value.is_object()) return fail("{}: is {}, but an object is needed", name, kind_of(value));
    return value;
}

void add_to(Hasher& hasher, std::string_view name, std::span<const std::byte> bytes) {
    const uint64_t sizes[2] = {name.size(), bytes.size()};
    hasher.add(std::as_bytes(std::span(sizes)));
    hasher.add(std::as_bytes(std::span(name)));
    hasher.add(bytes);
}

}  // namespace

struct ModelDirectory::Documents {
    Json config;
    const Json* quantization = nullptr;  // in config
    Json hf_quant;                       // null where there is none
    Json generation;                     // null where there is none
    std::vector<SentenceModule> modules;
};

ModelDirectory::ModelDirectory(Folder folder, Layout layout)
    : folder_(std::move(folder)), layout_(layout), documents_(std::make_unique<Documents>()) {}
ModelDirectory::ModelDirectory(ModelDirectory&&) noexcept = default;
ModelDirectory& ModelDirectory::operator=(ModelDirectory&&) noexcept = default;
ModelDirectory::~ModelDirectory() = default;

bool ModelDirectory::is_meant_by(const fs::path& path) {
    std::error_code ignored;
    const std::string extension = path.extension().string();
    return fs::is_directory(path, ignored) || extension == ".safetensors" || extension == ".json";
}

Result<ModelDirectory> ModelDirectory::open(const fs::path& path) {
    std::error_code ignored;
    const std::string file = path.filename().string();
    if (!fs::exists(path, ignored) || fs::is_directory(path, ignored)) {
        TRY_ASSIGN(Folder folder, Folder::open(path));
        return assemble(std::move(folder), {});
    }
    const bool weights = file.ends_with(".safetensors");
    const bool describes = file == kConfig || file == kParams || file.ends_with(".safetensors.index.json");
    if (!weights && !describes) {
        return fail("{}: is neither a model directory nor its config.json nor a .safetensors file in it",
                    printable(path.string(), 4096));
    }
    TRY_ASSIGN(Folder folder, Folder::open(path.has_parent_path() ? path.parent_path() : fs::path(".")));
    return assemble(std::move(folder), file);
}

Result<ModelDirectory> ModelDirectory::from_files(std::vector<MemoryFile> files, std::string name) {
    return assemble(Folder::in_memory(std::move(files), std::move(name)), {});
}

Result<ModelDirectory> ModelDirectory::assemble(Folder folder, std::string_view only) {
    TRY_ASSIGN(const WeightFiles weights, find_weight_files(folder, only));
    ModelDirectory directory(std::move(folder), weights.consolidated ? Layout::mistral : Layout::hugging_face);
    TRY(directory.read_documents());
    directory.index_ = weights.index_file;
    for (const std::string& file : weights.files) TRY(directory.add_file(file, ""));
    if (!weights.index_file.empty()) TRY(directory.check_index(weights.index));
    if (!weights.consolidated) TRY(directory.add_modules());
    return directory;
}

Result<void> ModelDirectory::read_documents() {
    const std::string_view config = layout_ == Layout::mistral ? kParams : kConfig;
    config_name_ = folder_.name_of(config);
    if (!folder_.has(config)) {
        return fail("{}: has no {}, which describes the model; copy it from where the weights come from",
                    folder_.name(), config);
    }
    TRY_ASSIGN(documents_->config, read_object(folder_, config));
    TRY_ASSIGN(documents_->quantization, find_quantization_config(documents_->config, config_name_));
    if (folder_.has(kGeneration)) {
        TRY_ASSIGN(documents_->generation, read_object(folder_, kGeneration));
    }
    if (!folder_.has(kQuantConfig) || layout_ == Layout::mistral) return {};
    const std::string name = folder_.name_of(kQuantConfig);
    TRY_ASSIGN(Json whole, read_object(folder_, kQuantConfig));
    const auto quantization = whole.find("quantization");
    if (quantization == whole.end() || !quantization->is_object()) {
        return fail("{}: has no object 'quantization', which says how the weights are quantised", name);
    }
    documents_->hf_quant = std::move(*quantization);
    if (documents_->quantization == nullptr) return {};
    return check_agreement(*documents_->quantization, config_name_, documents_->hf_quant, name);
}

Result<void> ModelDirectory::add_file(const std::string& file, const std::string& folder) {
    const std::string name = folder_.name_of(file);
    TRY_ASSIGN(Folder::File found, folder_.map(file));
    TRY_ASSIGN(SafeTensorsFile header, SafeTensorsFile::from_bytes(found.bytes, name));
    const int number = static_cast<int>(files_.size());
    std::vector<SafeTensor> tensors = std::move(header).take_tensors();
    by_name_.reserve(tensors_.size() + tensors.size());
    for (SafeTensor& tensor : tensors) {
        SafeTensor& ours = tensors_.emplace_back(std::move(tensor));
        if (!folder.empty()) ours.name.insert(0, folder);
        ours.file_index = number;
        tensor_bytes_ += ours.bytes;
        const auto before =
            by_name_.add(tensors_.size() - 1, [&](size_t i) -> std::string_view { return tensors_[i].name; });
        if (!before) continue;
        return fail("{}: tensor '{}' is also in {}; it may be in one file only", name,
                    printable(std::string_view(ours.name).substr(folder.size())),
                    file_names_[static_cast<size_t>(tensors_[*before].file_index)]);
    }
    file_bytes_ += found.bytes.size();
    files_.push_back(file);
    file_names_.push_back(name);
    if (found.mapping) mappings_.push_back(std::move(*found.mapping));
    return {};
}

Result<void> ModelDirectory::add_modules() {
    TRY_ASSIGN(documents_->modules, read_sentence_modules(folder_));
    for (const SentenceModule& module : documents_->modules) {
        if (module.kind == "Dense" && module.has_weights) TRY(add_file(module.weights(), module.folder + "/"));
    }
    return {};
}

Result<void> ModelDirectory::check_index(const ShardIndex& index) const {
    const std::string name = folder_.name_of(index_);
    for (const auto& [tensor, shard] : index.order) {
        const SafeTensor* found = find(tensor);
        if (found == nullptr) {
            return fail("{}: says that tensor '{}' is in '{}', but no shard has such a tensor", name, printable(tensor),
                        printable(files_[shard]));
        }
        if (static_cast<size_t>(found->file_index) != shard) {
            return fail("{}: says that tensor '{}' is in '{}', but it is in '{}'", name, printable(tensor),
                        printable(files_[shard]), printable(files_[static_cast<size_t>(found->file_index)]));
        }
    }
    if (tensors_.size() == index.order.size()) return {};
    for (const SafeTensor& tensor : tensors_) {
        if (index.shard_of.count(tensor.name) != 0) continue;
        return fail("{}: does not list tensor '{}', which is in '{}'", name, printable(tensor.name),
                    printable(files_[static_cast<size_t>(tensor.file_index)]));
    }
    return {};
}

const SafeTensor* ModelDirectory::find(std::string_view tensor) const {
    const auto found = by_name_.find(tensor, [&](size_t i) -> std::string_view { return tensors_[i].name; });
    return found ? &tensors_[*found] : nullptr;
}

const Json& ModelDirectory::config() const { return documents_->config; }
const Json* ModelDirectory::quantization_config() const { return documents_->quantization; }
const Json* ModelDirectory::hf_quant_config() const {
    return documents_->hf_quant.is_null() ? nullptr : &documents_->hf_quant;
}
const Json* ModelDirectory::generation_config() const {
    return documents_->generation.is_null() ? nullptr : &documents_->generation;
}

std::span<const SentenceModule> ModelDirectory::sentence_modules() const { return documents_->modules; }

const std::string& ModelDirectory::name() const { return folder_.name(); }

bool ModelDirectory::has(std::string_view side_file) const {
    CHECK(std::find(kSideFiles.begin(), kSideFiles.end(), side_file) != kSideFiles.end(), "a side file is listed");
    return folder_.has(side_file);
}

Result<std::string> ModelDirectory::read(std::string_view side_file, uint64_t most_bytes) const {
    if (!has(side_file)) return fail("{}: has no {}", folder_.name(), side_file);
    return folder_.read(side_file, most_bytes);
}

Result<Json> ModelDirectory::read_json(std::string_view side_file, uint64_t most_bytes) const {
    TRY_ASSIGN(const std::string text, read(side_file, most_bytes));
    return parse_json_document(text, name_of(side_file));
}

std::string ModelDirectory::name_of(std::string_view side_file) const { return folder_.name_of(side_file); }

std::vector<std::string> ModelDirectory::taken_beside_weights() const {
    // Mistral's layout reads params.json, which is a side file, and does not read a config.json beside it.
    std::vector<std::string> small;
    if (layout_ == Layout::hugging_face) small = {std::string(kConfig), std::string(kQuantConfig)};
    small.insert(small.end(), kSideFiles.begin(), kSideFiles.end());
    if (!index_.empty()) small.push_back(index_);
    for (const SentenceModule& module : documents_->modules) {
        if (!module.config.is_null()) small.push_back(module.folder + "/config.json");
    }
    std::erase_if(small, [this](const std::string& file) { return !folder_.has(file); });
    return small;
}

std::vector<fs::path> ModelDirectory::paths() const {
    std::vector<fs::path> paths;
    if (mappings_.empty()) return paths;  // in memory
    for (const std::string& file : taken_beside_weights()) paths.push_back(folder_.path_of(file));
    for (const std::string& file : files_) paths.push_back(folder_.path_of(file));
    return paths;
}

Result<std::string> ModelDirectory::digest() const {
    Hasher hasher;
    for (const std::string& file : taken_beside_weights()) {
        TRY_ASSIGN(const Folder::File found, folder_.map(file));
        add_to(hasher, file, found.bytes);
    }
    for (const std::string& file : files_) {
        TRY_ASSIGN(const Folder::File found, folder_.map(file));
        add_to(hasher, file, found.bytes);
    }
    return hasher.text();
}

}  // namespace invar
