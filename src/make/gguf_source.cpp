// Gives each weight of a model GGUF's name and order of rows, and reads its rows in that order: see gguf_source.h.
#include "make/gguf_source.h"

#include <algorithm>
#include <optional>

#include "checkpoint/binding.h"
#include "make/gguf_metadata.h"
#include "make/gguf_vocabulary.h"

namespace invar {
namespace {

// For orders that differ in GGUF: maps each row of the file to the row of the weight, the inverse of RowOrder.
std::vector<int64_t> inverse(const RowOrder& order, int64_t rows) {
    if (order.consecutive()) return {};
    std::vector<int64_t> result(static_cast<size_t>(rows));
    for (int64_t row = 0; row < rows; ++row) result[static_cast<size_t>(order.at(row))] = row;
    return result;
}

SourceTensor constant(std::string name, std::vector<float> numbers) {
    SourceTensor tensor;
    tensor.info = {.name = std::move(name),
                   .format = &format(FormatId::f32),
                   .shape = {static_cast<int64_t>(numbers.size())},
                   .bytes = numbers.size() * sizeof(float)};
    tensor.numbers = std::move(numbers);
    return tensor;
}

int64_t source_row(const SourceTensor& tensor, int64_t row) {
    if (tensor.row_order.empty()) return row;
    const auto rows = static_cast<int64_t>(tensor.row_order.size());
    return row / rows * rows + tensor.row_order[static_cast<size_t>(row % rows)];
}

}  // namespace

struct GgufSource::Model {
    ModelConfig config;
    std::vector<WantedWeight> wanted;
    Binding binding;
};

GgufSource GgufSource::of(const GgufFile& in) {
    GgufSource source;
    source.gguf_ = &in;
    for (const TensorInfo& tensor : in.tensors()) source.tensors_.push_back({.info = tensor});
    return source;
}

Result<GgufSource> GgufSource::of(const Checkpoint& in) {
    if (in.gguf() != nullptr) return of(*in.gguf());
    TRY_ASSIGN(const Architecture* architecture, find_architecture(in));
    auto model = std::make_shared<Model>();
    TRY_ASSIGN(model->config, architecture->read_config(in));
    model->wanted = architecture->declare(model->config, in);
    TRY_ASSIGN(model->binding, bind_weights(model->config, model->wanted, in));
    GgufSource source;
    source.checkpoint_ = &in;
    const RopeSpec& rope = model->config.ropes.front();
    if (!rope.frequency_factors.empty()) {
        source.tensors_.push_back(constant("rope_freqs.weight", rope.frequency_factors));
    }
    for (size_t i = 0; i < model->wanted.size(); ++i) {
        const WantedWeight& wanted = model->wanted[i];
        const StoredWeight& weight = model->binding.weights[i];
        if (wanted.alias_of) continue;
        SourceTensor tensor{.info = {.name = wanted.gguf.tensor,
                                     .format = weight.format,
                                     .shape = weight.shape,
                                     .bytes = static_cast<uint64_t>(weight.bytes())},
                            .weight = &weight};
        const bool vector = wanted.kind == WeightShape::vector;
        tensor.row_order = inverse(wanted.gguf.as.order, vector ? wanted.shape.back() : weight.rows_of_matrix());
        source.tensors_.push_back(std::move(tensor));
        const bool all_one = std::all_of(weight.scales.begin(), weight.scales.end(), [](float x) { return x == 1; });
        if (all_one) continue;
        const std::string base = wanted.gguf.tensor.substr(0, wanted.gguf.tensor.rfind('.'));
        source.tensors_.push_back(constant(base + ".scale", weight.scales));
        source.tensors_.back().weight = &weight;  // written only beside its blocks
    }
    source.model_ = std::move(model);
    return source;
}

const std::string& GgufSource::name() const { return gguf_ != nullptr ? gguf_->name() : checkpoint_->name(); }

void GgufSource::advise_sequential() const {
    if (gguf_ == nullptr) return;  // experts of a directory lie in any order
    for (const MappedFile& mapping : gguf_->mappings()) mapping.advise(MappedFile::Advice::sequential);
}

// Copies a GGUF file's metadata except the keys that describe the file's own bytes.
Result<std::vector<std::string>> GgufSource::add_metadata(GgufWriter& writer) const {
    if (gguf_ == nullptr) {
        TRY(add_model_metadata(*checkpoint_, model_->config, writer));
        return add_vocabulary(*checkpoint_->directory(), model_->config.vocabulary, writer);
    }
    for (const MetadataEntry& entry : gguf_->metadata().entries()) {
        const bool of_the_file = entry.key == "general.alignment" || entry.key.starts_with("split.") ||
                                 entry.key.starts_with("quantize.imatrix.");
        if (!of_the_file) writer.add(entry.key, entry.value);
    }
    return std::vector<std::string>();
}

Result<void> SourceReader::decode(const SourceTensor& tensor, int64_t row, float* out) {
    const int64_t columns = tensor.info.columns();
    if (!tensor.numbers.empty()) {
        std::copy(tensor.numbers.begin(), tensor.numbers.end(), out);
        return {};
    }
    if (tensor.weight == nullptr) {
        tensor.info.format->decode(tensor.info.data + row * tensor.info.format->row_bytes(columns), columns, out);
        return {};
    }
    if (tensor.info.shape.size() > 1) return reader_.decode(*tensor.weight, source_row(tensor, row), out);
    if (tensor.row_order.empty()) return reader_.vector(*tensor.weight, out);
    std::vector<float> ordered(static_cast<size_t>(columns));
    TRY(reader_.vector(*tensor.weight, ordered.data()));
    for (int64_t i = 0; i < columns; ++i) out[i] = ordered[static_cast<size_t>(source_row(tensor, i))];
    return {};
}

Result<const std::byte*> SourceReader::blocks(const SourceTensor& tensor, int64_t row) {
    if (tensor.weight != nullptr) return reader_.rows(*tensor.weight, source_row(tensor, row), 1);
    return tensor.info.data + row * static_cast<int64_t>(tensor.info.row_bytes());
}

}  // namespace invar
