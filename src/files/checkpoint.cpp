#include "files/checkpoint.h"

#include "files/gguf.h"

namespace invar {

struct Checkpoint::State {
    explicit State(GgufFile opened) : file(std::move(opened)) {
        for (const MappedFile& mapping : file.mappings()) mappings.push_back(&mapping);
        for (const TensorInfo& tensor : file.tensors()) {
            TensorInfo& own = tensors.emplace_back(tensor);
            const auto part = static_cast<size_t>(tensor.file_index);
            own.file = part < mappings.size() ? mappings[part] : nullptr;
            index.emplace(own.name, tensors.size() - 1);
        }
    }

    GgufFile file;
    std::vector<const MappedFile*> mappings;
    std::vector<TensorInfo> tensors;
    std::unordered_map<std::string, size_t> index;
};

Result<Checkpoint> Checkpoint::open(const std::filesystem::path& path) {
    TRY_ASSIGN(GgufFile file, GgufFile::open(path));
    return Checkpoint(std::make_shared<const State>(std::move(file)));
}

Result<Checkpoint> Checkpoint::from_bytes(std::span<const std::byte> bytes, std::string name) {
    TRY_ASSIGN(GgufFile file, GgufFile::from_bytes(bytes, std::move(name)));
    return Checkpoint(std::make_shared<const State>(std::move(file)));
}

Dialect Checkpoint::dialect() const { return Dialect::gguf; }
const std::string& Checkpoint::name() const { return state_->file.name(); }
std::span<const TensorInfo> Checkpoint::tensors() const { return state_->tensors; }
const Metadata& Checkpoint::metadata() const { return state_->file.metadata(); }
std::span<const std::filesystem::path> Checkpoint::paths() const { return state_->file.paths(); }
std::span<const MappedFile* const> Checkpoint::mappings() const { return state_->mappings; }
uint64_t Checkpoint::file_bytes() const { return state_->file.file_bytes(); }
uint64_t Checkpoint::tensor_bytes() const { return state_->file.tensor_bytes(); }
const GgufFile& Checkpoint::gguf() const { return state_->file; }

const TensorInfo* Checkpoint::find(std::string_view tensor) const {
    const auto found = state_->index.find(std::string(tensor));
    return found == state_->index.end() ? nullptr : &state_->tensors[found->second];
}

}  // namespace invar
