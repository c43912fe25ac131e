#include "checkpoint/loader.h"

#include <algorithm>
#include <limits>

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
        case StoredForm::device_lanes:
            break;  // no host memory
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

// The file's pages of what was repacked or widened have been read into this process and are of no more use: without
// this the weights would count twice, once as loaded and once as file.
void drop_source(const GgufFile& file, const TensorInfo& tensor) {
    if (file.mappings().empty()) return;  // bytes of a test
    file.mappings()[static_cast<size_t>(tensor.file_index)].drop(tensor.file_offset, tensor.bytes);
}

// The same for the pages between tensors, which drop_source() leaves because two of them share each.
void drop_between(const WeightPlan& plan, const GgufFile& file) {
    for (size_t part = 0; part < file.mappings().size(); ++part) {
        uint64_t first = std::numeric_limits<uint64_t>::max();
        for (const TensorInfo& tensor : file.tensors()) {
            if (static_cast<size_t>(tensor.file_index) == part) first = std::min(first, tensor.file_offset);
        }
        std::vector<std::pair<uint64_t, uint64_t>> kept;  // begin, end
        for (const PlanEntry& entry : plan.entries) {
            const TensorInfo* tensor = entry.alias_of ? nullptr : file.find(entry.tensor);
            if (tensor == nullptr || entry.form != StoredForm::as_stored) continue;
            if (static_cast<size_t>(tensor->file_index) == part)
                kept.emplace_back(tensor->file_offset, tensor->file_offset + tensor->bytes);
        }
        std::sort(kept.begin(), kept.end());
        const MappedFile& mapping = file.mappings()[part];
        for (const auto& [begin, end] : kept) {
            if (begin > first) mapping.drop(first, begin - first);
            first = std::max(first, end);
        }
        if (first < mapping.bytes().size()) mapping.drop(first, mapping.bytes().size() - first);
    }
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
        if (entry.form != StoredForm::as_stored) drop_source(file, *tensor);
        registry.add(entry.id, std::move(loaded));
        done += entry.file_bytes;
        if (progress) progress(done, total);
    }
    drop_between(plan, file);
    TRY(registry.compare_with(plan));
    return registry;
}

}  // namespace invar
