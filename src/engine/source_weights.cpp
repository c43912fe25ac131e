#include "engine/source_weights.h"

#include <algorithm>

namespace invar {

const TensorInfo& SourceWeights::tensor_of(WeightId id) const {
    const auto entry_of = [&](WeightId wanted) {
        const auto found = std::find_if(plan_.entries.begin(), plan_.entries.end(),
                                        [&](const PlanEntry& entry) { return entry.id == wanted; });
        CHECK(found != plan_.entries.end(), "a loaded weight is in the plan");
        return found;
    };
    auto entry = entry_of(id);
    if (entry->alias_of) entry = entry_of(*entry->alias_of);
    const TensorInfo* tensor = file_.find(entry->tensor);
    CHECK(tensor != nullptr, "a loaded weight has a tensor in the file");
    return *tensor;
}

WeightMatrix SourceWeights::matrix(WeightId id) const {
    const TensorInfo& tensor = tensor_of(id);
    return {.id = id,
            .format = tensor.format,
            .form = StoredForm::as_stored,
            .rows = tensor.shape[0],
            .columns = tensor.shape[1],
            .data = tensor.data,
            .bytes = static_cast<int64_t>(tensor.bytes)};
}

WeightStack SourceWeights::stack(WeightId id) const {
    const TensorInfo& tensor = tensor_of(id);
    const int64_t stride = static_cast<int64_t>(tensor.bytes) / tensor.shape[0];
    return {.first = {.id = id,
                      .format = tensor.format,
                      .form = StoredForm::as_stored,
                      .rows = tensor.shape[1],
                      .columns = tensor.shape[2],
                      .data = tensor.data,
                      .bytes = stride},
            .count = tensor.shape[0],
            .stride_bytes = stride};
}

WeightVector SourceWeights::vector(WeightId id) {
    const TensorInfo& tensor = tensor_of(id);
    std::vector<float>& values = vectors_[id];
    if (values.empty()) {
        values.resize(static_cast<size_t>(tensor.weights()));
        tensor.format->decode(tensor.data, tensor.weights(), values.data());
    }
    return {.id = id, .data = values.data(), .size = tensor.weights()};
}

}  // namespace invar
