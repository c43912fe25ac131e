// Opens the container that a path names and lists its tensors in one form for all containers: see checkpoint.h.
#include "files/checkpoint.h"

#include <unordered_set>
#include <variant>

#include "base/check.h"
#include "base/json.h"
#include "files/gguf.h"
#include "files/model_directory.h"

namespace invar {
namespace {

// The format whose blocks are single numbers of a dtype; null if there is none.
const Format* format_of(Dtype dtype) {
    switch (dtype) {
        case Dtype::f32:
            return &format(FormatId::f32);
        case Dtype::f16:
            return &format(FormatId::f16);
        case Dtype::bf16:
            return &format(FormatId::bf16);
        default:
            return nullptr;
    }
}

TensorInfo tensor_info(const SafeTensor& tensor) {
    return {.name = tensor.name,
            .format = format_of(tensor.dtype),
            .shape = tensor.shape.empty() ? std::vector<int64_t>{1} : tensor.shape,
            .data = tensor.data,
            .bytes = tensor.bytes,
            .file_index = tensor.file_index,
            .file_offset = tensor.file_offset,
            .dtype = tensor.dtype_name};
}

}  // namespace

struct Checkpoint::State {
    explicit State(GgufFile opened) : container(std::move(opened)), empty("") {
        const GgufFile& file = std::get<GgufFile>(container);
        for (const MappedFile& mapping : file.mappings()) mappings.push_back(&mapping);
        paths.assign(file.paths().begin(), file.paths().end());
        tensors.reserve(file.tensors().size());
        for (const TensorInfo& tensor : file.tensors()) add(tensor);
        note_endings();
    }
    explicit State(ModelDirectory opened) : container(std::move(opened)), empty("") {
        const ModelDirectory& directory = std::get<ModelDirectory>(container);
        for (const MappedFile& mapping : directory.mappings()) {
            mappings.push_back(&mapping);
            paths.push_back(mapping.path());
        }
        tensors.reserve(directory.tensors().size());
        for (const SafeTensor& tensor : directory.tensors()) add(tensor_info(tensor));
        note_endings();
    }
    void add(TensorInfo tensor) {
        const auto part = static_cast<size_t>(tensor.file_index);
        tensor.file = part < mappings.size() ? mappings[part] : nullptr;
        tensors.push_back(std::move(tensor));
    }
    void note_endings() {
        for (const TensorInfo& tensor : tensors) {
            const size_t dot = tensor.name.rfind('.');
            if (dot != std::string::npos) endings.insert(std::string_view(tensor.name).substr(dot + 1));
        }
    }

    std::variant<GgufFile, ModelDirectory> container;
    Metadata empty;  // of a directory
    std::vector<const MappedFile*> mappings;
    std::vector<std::filesystem::path> paths;
    std::vector<TensorInfo> tensors;               // in the order of the container's
    std::unordered_set<std::string_view> endings;  // of their names, behind the last dot
};

Result<Checkpoint> Checkpoint::open(const std::filesystem::path& path) {
    if (ModelDirectory::is_meant_by(path)) {
        TRY_ASSIGN(ModelDirectory directory, ModelDirectory::open(path));
        return Checkpoint(std::make_shared<const State>(std::move(directory)));
    }
    TRY_ASSIGN(GgufFile file, GgufFile::open(path));
    return Checkpoint(std::make_shared<const State>(std::move(file)));
}

Result<Checkpoint> Checkpoint::from_bytes(std::span<const std::byte> bytes, std::string name) {
    TRY_ASSIGN(GgufFile file, GgufFile::from_bytes(bytes, std::move(name)));
    return Checkpoint(std::make_shared<const State>(std::move(file)));
}

Result<Checkpoint> Checkpoint::from_files(std::vector<MemoryFile> files, std::string name) {
    TRY_ASSIGN(ModelDirectory directory, ModelDirectory::from_files(std::move(files), std::move(name)));
    return Checkpoint(std::make_shared<const State>(std::move(directory)));
}

const GgufFile* Checkpoint::gguf() const { return std::get_if<GgufFile>(&state_->container); }
const ModelDirectory* Checkpoint::directory() const { return std::get_if<ModelDirectory>(&state_->container); }
Dialect Checkpoint::dialect() const {
    if (gguf() != nullptr) return Dialect::gguf;
    return directory()->layout() == ModelDirectory::Layout::mistral ? Dialect::mistral : Dialect::hugging_face;
}
const std::string& Checkpoint::name() const { return gguf() != nullptr ? gguf()->name() : directory()->name(); }
std::span<const TensorInfo> Checkpoint::tensors() const { return state_->tensors; }
const Metadata& Checkpoint::metadata() const { return gguf() != nullptr ? gguf()->metadata() : state_->empty; }
std::span<const std::filesystem::path> Checkpoint::paths() const { return state_->paths; }
std::span<const MappedFile* const> Checkpoint::mappings() const { return state_->mappings; }

uint64_t Checkpoint::file_bytes() const { return gguf() != nullptr ? gguf()->file_bytes() : directory()->file_bytes(); }
uint64_t Checkpoint::tensor_bytes() const {
    return gguf() != nullptr ? gguf()->tensor_bytes() : directory()->tensor_bytes();
}

const Json& Checkpoint::config() const {
    CHECK(directory() != nullptr, "only a directory has a config.json");
    const Json& whole = directory()->config();
    const auto text = whole.find("text_config");
    return text != whole.end() && text->is_object() ? *text : whole;
}

const TensorInfo* Checkpoint::find(std::string_view tensor) const {
    const TensorInfo* all = state_->tensors.data();
    if (const GgufFile* file = gguf()) {
        const TensorInfo* found = file->find(tensor);
        return found == nullptr ? nullptr : all + (found - file->tensors().data());
    }
    const SafeTensor* found = directory()->find(tensor);
    return found == nullptr ? nullptr : all + (found - directory()->tensors().data());
}

bool Checkpoint::any_ends_in(std::string_view last) const { return state_->endings.contains(last); }

}  // namespace invar
