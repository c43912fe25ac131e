#include "checkpoint/loader.h"

#include <atomic>

#include "layout/rows4.h"

namespace invar {

int64_t stored_bytes(const Format& format, StoredForm form, const std::vector<int64_t>& shape) {
    const int64_t columns = shape.back();
    const int64_t rows = shape.size() >= 2 ? shape[shape.size() - 2] : 1;
    const int64_t count = shape.size() == 3 ? shape[0] : 1;
    switch (form) {
        case StoredForm::as_stored:
            return count * rows * format.row_bytes(columns);
        case StoredForm::rows4:
            return count * rows4_bytes(format, rows, columns);
        case StoredForm::binary32:
            return count * rows * columns * static_cast<int64_t>(sizeof(float));
    }
    return 0;
}

namespace {

// Repacks every matrix of a tensor, row groups in parallel.
void repack(const PlanEntry& entry, const TensorInfo& tensor, const ParallelRanges& parallel, std::byte* out) {
    const int64_t columns = entry.shape.back();
    const int64_t rows = entry.shape[entry.shape.size() - 2];
    const int64_t count = entry.kind == WeightShape::stack ? entry.shape[0] : 1;
    const int64_t groups = (rows + kRowGroup - 1) / kRowGroup;
    const int64_t file_stride = rows * entry.source->row_bytes(columns);
    const int64_t packed_stride = rows4_bytes(*entry.source, rows, columns);
    parallel(count * groups, [&](int64_t first, int64_t last) {
        while (first < last) {
            const int64_t matrix = first / groups;
            const int64_t group = first % groups;
            const int64_t end = std::min(groups, group + (last - first));
            pack_rows4(*entry.source, tensor.data + matrix * file_stride, rows, columns, group, end,
                       out + matrix * packed_stride);
            first += end - group;
        }
    });
}

Result<WeightRegistry::Entry> load_entry(const PlanEntry& entry, const TensorInfo& tensor,
                                         const ParallelRanges& parallel) {
    WeightRegistry::Entry loaded{.kind = entry.kind,
                                 .shape = tensor.shape,
                                 .format = tensor.format,
                                 .form = entry.form,
                                 .bytes = stored_bytes(*tensor.format, entry.form, tensor.shape),
                                 .data = tensor.data,
                                 .owned = {},
                                 .alias_of = std::nullopt};
    if (entry.form == StoredForm::as_stored) return loaded;
    TRY_ASSIGN(loaded.owned, AlignedBytes::allocate(loaded.bytes));
    loaded.data = loaded.owned.data();
    if (entry.form == StoredForm::binary32) {
        tensor.format->decode(tensor.data, tensor.shape[0], reinterpret_cast<float*>(loaded.owned.data()));
    } else {
        repack(entry, tensor, parallel, loaded.owned.data());
    }
    return loaded;
}

}  // namespace

Result<WeightRegistry> load_weights(const WeightPlan& plan, const GgufFile& file, const ParallelRanges& parallel,
                                    const LoadProgress& progress) {
    WeightRegistry registry;
    int64_t done = 0, total = 0;
    for (const PlanEntry& entry : plan.entries) total += entry.alias_of ? 0 : entry.file_bytes;
    for (const PlanEntry& entry : plan.entries) {
        if (entry.alias_of) {
            registry.add(entry.id, {.kind = entry.kind,
                                    .shape = entry.shape,
                                    .format = entry.source,
                                    .form = entry.form,
                                    .bytes = 0,
                                    .data = nullptr,
                                    .owned = {},
                                    .alias_of = entry.alias_of});
            continue;
        }
        const TensorInfo* tensor = file.find(entry.tensor);
        if (tensor == nullptr)
            return fail("{}: tensor '{}' is in the plan but not in the file", file.name(), entry.tensor);
        TRY_ASSIGN(WeightRegistry::Entry loaded, load_entry(entry, *tensor, parallel));
        registry.add(entry.id, std::move(loaded));
        done += entry.file_bytes;
        if (progress) progress(done, total);
    }
    TRY(registry.compare_with(plan));
    return registry;
}

}  // namespace invar
