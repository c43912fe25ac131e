// Gives each weight of a model GGUF's name and order of rows, and reads its rows in that order: see gguf_source.h.
#include "make/gguf_source.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "checkpoint/binding.h"
#include "make/gguf_embedding.h"
#include "make/gguf_hyperparameters.h"
#include "make/gguf_vocabulary.h"
#include "models/tensor_names.h"

namespace invar {
namespace {

// How many rows one matrix of a weight has for an order; a vector has its numbers.
int64_t ordered_rows(const StoredWeight& weight) {
    return weight.shape.size() == 1 ? weight.shape[0] : weight.rows_of_matrix();
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

// The weight that has a row of the file, and which of its rows that is.
std::pair<const StoredWeight*, int64_t> source_of(const SourceTensor& tensor, int64_t row) {
    int64_t at = source_row(tensor, row);
    const StoredWeight* weight = tensor.weight;
    for (size_t i = 0; i < tensor.joined.size() && at >= weight->rows(); ++i) {
        at -= weight->rows();
        weight = tensor.joined[i];
    }
    return {weight, at};
}

// The weights that a GGUF file holds in one tensor, each with the order in which it has their rows.
struct Shared {
    std::string tensor;
    std::vector<const WantedWeight*> wanted;
    std::vector<const StoredWeight*> weights;
};

// Whether every row of the tensor is one of a weight, as `row_order` then says: the inverse of the weights' orders.
bool order_rows(const Shared& shared, std::vector<int64_t>& row_order) {
    int64_t rows = 0;
    for (const StoredWeight* weight : shared.weights) rows += ordered_rows(*weight);
    row_order.assign(static_cast<size_t>(rows), -1);
    int64_t before = 0;
    for (size_t i = 0; i < shared.weights.size(); ++i) {
        const int64_t count = ordered_rows(*shared.weights[i]);
        for (int64_t row = 0; row < count; ++row) {
            const int64_t at = shared.wanted[i]->gguf.as.order.at(row);
            if (at < 0 || at >= rows || row_order[static_cast<size_t>(at)] >= 0) return false;
            row_order[static_cast<size_t>(at)] = before + row;
        }
        before += count;
    }
    return true;
}

Result<SourceTensor> tensor_of(const Shared& shared, const std::string& file) {
    const StoredWeight& weight = *shared.weights.front();
    const HeldAs& as = shared.wanted.front()->gguf.as;
    SourceTensor tensor{.info = {.name = shared.tensor, .format = weight.format, .shape = weight.shape},
                        .weight = &weight,
                        .joined = {shared.weights.begin() + 1, shared.weights.end()}};
    const bool possible = as.matrix_rows == 0 && as.transposed == Transposed::no && !as.columns.moves() &&
                          (tensor.joined.empty() || weight.shape.size() == 2);
    const bool as_it_is = tensor.joined.empty() && as.order == RowOrder();
    if (!possible || (!as_it_is && !order_rows(shared, tensor.row_order))) {
        return fail(ErrorKind::unsupported, "{}: tensor '{}' of a GGUF file has other numbers than the model's weights",
                    file, shared.tensor);
    }
    if (std::is_sorted(tensor.row_order.begin(), tensor.row_order.end())) tensor.row_order.clear();
    for (const StoredWeight* other : tensor.joined) tensor.info.shape[0] += other->shape[0];
    if (!as.shape.empty()) tensor.info.shape = as.shape;
    tensor.info.bytes =
        static_cast<uint64_t>(tensor.info.format->row_bytes(tensor.info.columns()) * tensor.info.rows());
    return tensor;
}

// Takes the factors of experts out of a weight: a tensor of them alone, where GGUF has a name for it.
std::optional<SourceTensor> take_factors(const WantedWeight& wanted, SourceTensor& tensor) {
    const StoredWeight& weight = *tensor.weight;
    if (wanted.gguf.as.factors.empty() || weight.scales.empty() || weight.scale_order != ScaleOrder::last)
        return std::nullopt;
    auto bare = std::make_shared<StoredWeight>(weight);
    bare->scales.clear();
    tensor.without_factors = bare;
    tensor.weight = bare.get();
    return constant(gguf_name(wanted.id.layer, wanted.gguf.as.factors), weight.scales);
}

std::vector<Shared> shared_tensors(std::span<const WantedWeight> wanted, std::span<const StoredWeight> weights) {
    std::vector<Shared> all;
    std::map<std::string_view, size_t> place_of;
    for (size_t i = 0; i < wanted.size(); ++i) {
        if (wanted[i].alias_of) continue;
        const auto [place, fresh] = place_of.try_emplace(wanted[i].gguf.tensor, all.size());
        if (fresh) all.push_back({.tensor = wanted[i].gguf.tensor});
        all[place->second].wanted.push_back(&wanted[i]);
        all[place->second].weights.push_back(&weights[i]);
    }
    return all;
}

}  // namespace

bool SourceTensor::can_copy() const {
    if (weight == nullptr) return true;
    const bool alike = std::all_of(joined.begin(), joined.end(), [&](const StoredWeight* other) {
        return other->format == weight->format && other->row_scales.empty() && other->scales.empty();
    });
    return numbers.empty() && weight->shape.size() > 1 && weight->row_scales.empty() &&
           (joined.empty() || (alike && weight->scales.empty()));
}

Result<std::vector<SourceTensor>> gguf_tensors(std::span<const WantedWeight> wanted,
                                               std::span<const StoredWeight> weights, const std::string& file) {
    std::vector<SourceTensor> tensors;
    for (const Shared& shared : shared_tensors(wanted, weights)) {
        TRY_ASSIGN(SourceTensor tensor, tensor_of(shared, file));
        std::optional<SourceTensor> factors = take_factors(*shared.wanted.front(), tensor);
        const StoredWeight& weight = *tensor.weight;
        const bool joined = !tensor.joined.empty();
        tensors.push_back(std::move(tensor));
        if (factors) tensors.push_back(std::move(*factors));
        const bool all_one = std::all_of(weight.scales.begin(), weight.scales.end(), [](float x) { return x == 1; });
        if (all_one || joined) continue;
        const std::string base = shared.tensor.substr(0, shared.tensor.rfind('.'));
        tensors.push_back(constant(base + ".scale", weight.scales));
        tensors.back().weight = &weight;  // written only beside its blocks
    }
    return tensors;
}

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
    for (ComputedTensor& rope : gguf_rope_tensors(model->config))
        source.tensors_.push_back(constant(std::move(rope.name), std::move(rope.numbers)));
    TRY_ASSIGN(std::vector<SourceTensor> tensors, gguf_tensors(model->wanted, model->binding.weights, in.name()));
    std::move(tensors.begin(), tensors.end(), std::back_inserter(source.tensors_));
    source.model_ = std::move(model);
    return source;
}

const std::string& GgufSource::name() const { return gguf_ != nullptr ? gguf_->name() : checkpoint_->name(); }

void GgufSource::advise_sequential() const {
    if (gguf_ == nullptr) return;  // experts of a directory lie in any order
    for (const MappedFile& mapping : gguf_->mappings()) mapping.advise(MappedFile::Advice::sequential);
}

Result<std::vector<std::string>> GgufSource::add_embedding(GgufWriter& writer) const {
    if (gguf_ != nullptr) return std::vector<std::string>();
    return add_embedding_keys(*checkpoint_, model_->config, writer);
}

// Copies a GGUF file's metadata except the keys that describe the file's own bytes.
Result<std::vector<std::string>> GgufSource::add_metadata(GgufWriter& writer, bool vocabulary) const {
    if (gguf_ == nullptr) {
        std::vector<TensorInfo> infos;
        for (const SourceTensor& tensor : tensors_)
            if (tensor.weight != nullptr && tensor.numbers.empty()) infos.push_back(tensor.info);
        TRY_ASSIGN(std::vector<std::string> notes,
                   write_gguf_hyperparameters(*checkpoint_, model_->config, infos, writer));
        if (!vocabulary) {
            writer.add("tokenizer.ggml.model", "no_vocab");
            return notes;
        }
        TRY_ASSIGN(const std::vector<std::string> more,
                   add_vocabulary(*checkpoint_->directory(), model_->config.vocabulary, writer));
        notes.insert(notes.end(), more.begin(), more.end());
        return notes;
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
    if (tensor.weight->shape.size() > 1) {
        const auto [weight, at] = source_of(tensor, row);
        return reader_.decode(*weight, at, out);
    }
    std::vector<float> numbers(static_cast<size_t>(tensor.weight->shape[0]));
    TRY(reader_.vector(*tensor.weight, numbers.data()));
    for (int64_t i = 0; i < columns; ++i) out[i] = numbers[static_cast<size_t>(source_row(tensor, row * columns + i))];
    return {};
}

Result<const std::byte*> SourceReader::blocks(const SourceTensor& tensor, int64_t row) {
    if (tensor.weight != nullptr) {
        const auto [weight, at] = source_of(tensor, row);
        return reader_.rows(*weight, at, 1);
    }
    return tensor.info.data + row * static_cast<int64_t>(tensor.info.row_bytes());
}

}  // namespace invar
