#include "engine/source_weights.h"

#include <algorithm>

namespace invar {

const StoredWeight& SourceWeights::stored(WeightId id) const {
    const auto entry_of = [&](WeightId wanted) {
        const auto found = std::find_if(plan_.entries.begin(), plan_.entries.end(),
                                        [&](const PlanEntry& entry) { return entry.id == wanted; });
        CHECK(found != plan_.entries.end(), "a loaded weight is in the plan");
        return found;
    };
    auto entry = entry_of(id);
    if (entry->alias_of) entry = entry_of(*entry->alias_of);
    return entry->stored;
}

const std::byte* SourceWeights::rows_of(WeightId id) {
    const StoredWeight& weight = stored(id);
    if (const std::byte* rows = weight.in_place()) return rows;
    std::vector<std::byte>& made = made_[id];
    if (!made.empty()) return made.data();
    RowReader reader(RowReader::Access::mapped);
    const auto rows = reader.rows(weight, 0, weight.rows());
    CHECK(rows.has_value(), "mapped rows cannot fail to be read");
    made.assign(*rows, *rows + weight.bytes());
    return made.data();
}

WeightMatrix SourceWeights::matrix(WeightId id) {
    const StoredWeight& weight = stored(id);
    return {.id = id,
            .format = weight.format,
            .form = StoredForm::as_stored,
            .rows = weight.shape[0],
            .columns = weight.shape[1],
            .data = rows_of(id),
            .bytes = weight.bytes(),
            .scale = weight.scale_of(0),
            .row_scales = weight.row_scales.empty() ? nullptr : weight.row_scales.data()};
}

WeightStack SourceWeights::stack(WeightId id) {
    const StoredWeight& weight = stored(id);
    const int64_t stride = weight.bytes() / weight.shape[0];
    return {.first = {.id = id,
                      .format = weight.format,
                      .form = StoredForm::as_stored,
                      .rows = weight.shape[1],
                      .columns = weight.shape[2],
                      .data = rows_of(id),
                      .bytes = stride,
                      .row_scales = weight.row_scales.empty() ? nullptr : weight.row_scales.data()},
            .count = weight.shape[0],
            .stride_bytes = stride,
            .scales = weight.scales.empty() ? nullptr : weight.scales.data()};
}

WeightVector SourceWeights::vector(WeightId id) {
    const StoredWeight& weight = stored(id);
    std::vector<float>& values = vectors_[id];
    if (values.empty()) {
        values.resize(static_cast<size_t>(weight.shape[0]));
        const auto read = RowReader(RowReader::Access::mapped).vector(weight, values.data());
        CHECK(read.has_value(), "a mapped vector cannot fail to be read");
    }
    return {.id = id, .data = values.data(), .size = weight.shape[0]};
}

}  // namespace invar
