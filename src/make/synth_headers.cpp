// Puts headers before memory that reads as zeros, and opens them as files are: see synth_headers.h.
#include "make/synth_headers.h"

#include <algorithm>
#include <cstring>

#include "files/folder.h"
#include "make/synth_directory.h"

namespace invar {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

void copy_to(std::span<std::byte> out, std::span<const std::byte> from) {
    std::copy(from.begin(), from.end(), out.begin());
}

Result<ModelInMemory> gguf_in_memory(const ShapeDocument& shape, const SynthOptions& options) {
    TRY_ASSIGN(const SynthFile file, synth_file(shape, options));
    TRY_ASSIGN(SparseMemory weights, SparseMemory::create(file.writer.file_bytes()));
    const std::vector<std::byte> header = file.writer.header();
    copy_to(weights.bytes(), header);
    uint64_t at = header.size();
    for (const SynthTensor& tensor : file.tensors) {
        if (!tensor.numbers.empty()) copy_to(weights.bytes().subspan(at), std::as_bytes(std::span(tensor.numbers)));
        const auto bytes = static_cast<uint64_t>(tensor.bytes());
        at += (bytes + kGgufDefaultAlignment - 1) / kGgufDefaultAlignment * kGgufDefaultAlignment;
    }
    TRY_ASSIGN(Checkpoint checkpoint,
               Checkpoint::from_bytes(weights.bytes(), fmt::format("{} in {}", shape.name, options.mix)));
    return ModelInMemory{.weights = std::move(weights), .checkpoint = std::move(checkpoint)};
}

}  // namespace

Result<ModelInMemory> directory_in_memory(std::string name, std::vector<NamedText> files,
                                          std::span<const SafeTensorsDeclaration> tensors,
                                          const std::function<void(size_t, std::span<std::byte>)>& fill) {
    TRY_ASSIGN(const std::string header, safetensors_header({{"format", "pt"}}, tensors));
    uint64_t total = header.size();
    for (const SafeTensorsDeclaration& tensor : tensors) total += tensor.bytes();
    TRY_ASSIGN(SparseMemory weights, SparseMemory::create(total));
    copy_to(weights.bytes(), bytes_of(header));
    for (size_t i = 0, at = header.size(); i < tensors.size(); ++i) {
        if (fill) fill(i, weights.bytes().subspan(at, tensors[i].bytes()));
        at += tensors[i].bytes();
    }
    std::vector<std::unique_ptr<const std::string>> texts;
    std::vector<MemoryFile> all = {{"model.safetensors", weights.bytes()}};
    for (NamedText& file : files) {
        texts.push_back(std::make_unique<const std::string>(std::move(file.second)));
        all.push_back({std::move(file.first), bytes_of(*texts.back())});
    }
    TRY_ASSIGN(Checkpoint checkpoint, Checkpoint::from_files(std::move(all), std::move(name)));
    return ModelInMemory{std::move(texts), std::move(weights), std::move(checkpoint)};
}

Result<ModelInMemory> synthesize_headers(const ShapeDocument& whole, const SynthOptions& options) {
    TRY_ASSIGN(const ShapeDocument shape, with_layers(whole, options.layers));
    if (!is_directory_format(options.mix)) return gguf_in_memory(shape, {.mix = options.mix, .seed = options.seed});
    TRY_ASSIGN(SynthDirectory directory, synth_directory(shape, options));
    std::vector<const SynthDirectoryTensor*> tensors;
    for (const SynthDirectoryTensor& tensor : directory.model.tensors) tensors.push_back(&tensor);
    widest_first(tensors);
    std::vector<SafeTensorsDeclaration> declarations;
    declarations.reserve(tensors.size());
    for (const SynthDirectoryTensor* tensor : tensors) declarations.push_back(tensor->declaration);
    // Scales of rows and blocks stay zeros: no plan reads them.
    const auto fill = [&](size_t i, std::span<std::byte> out) {
        const SynthDirectoryTensor& tensor = *tensors[i];
        const bool scales = tensor.fill == SynthFill::pool_scales && tensor.declaration.shape.size() > 1;
        if (tensor.fill != SynthFill::pool && !scales) copy_to(out, small_tensor(tensor));
    };
    return directory_in_memory(fmt::format("{} in {}", shape.name, options.mix), std::move(directory.configs),
                               declarations, fill);
}

}  // namespace invar
