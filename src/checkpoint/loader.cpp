#include "checkpoint/loader.h"

#include <algorithm>
#include <limits>

#include "checkpoint/repack.h"
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

// The file's pages that belong to no weight that stays as stored, its header among them, have been read into this
// process and are of no more use: without this they would count as its memory.
void drop_rest(const WeightPlan& plan, const GgufFile& file) {
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

HomedWork homeless(const ParallelRanges& parallel) {
    const auto run = [parallel](int64_t count, const auto&, const std::function<void(int64_t)>& work) {
        parallel(count, [&](int64_t first, int64_t last) {
            for (int64_t item = first; item < last; ++item) work(item);
        });
    };
    return {.homes = RowHomes(), .run = run};
}

Result<WeightRegistry> load_weights(const WeightPlan& plan, const GgufFile& file, const ParallelRanges& parallel,
                                    const LoadProgress& progress) {
    return load_weights(plan, file, homeless(parallel), progress);
}

Result<WeightRegistry> load_weights(const WeightPlan& plan, const GgufFile& file, const HomedWork& homed,
                                    const LoadProgress& progress) {
    const PackedPlaces places = packed_places(plan);
    TRY_ASSIGN(const AlignedBytes block, AlignedBytes::allocate(places.bytes));
    TRY(fill_packed(plan, file, places, homed, progress, block.data()));
    WeightRegistry registry;
    for (size_t i = 0; i < plan.entries.size(); ++i) {
        const PlanEntry& entry = plan.entries[i];
        WeightRegistry::Entry loaded{.kind = entry.kind,
                                     .shape = entry.shape,
                                     .format = entry.source,
                                     .form = entry.form,
                                     .bytes = entry.alias_of ? 0 : stored_bytes(*entry.source, entry.form, entry.shape),
                                     .data = nullptr,
                                     .owned = {},
                                     .alias_of = entry.alias_of};
        if (places.offsets[i] >= 0) {
            loaded.owned = block.part(places.offsets[i], loaded.bytes);
            loaded.data = loaded.owned.data();
        } else if (!entry.alias_of) {
            const TensorInfo* tensor = file.find(entry.tensor);
            if (tensor == nullptr)
                return fail("{}: tensor '{}' is in the plan but not in the file", file.name(), entry.tensor);
            loaded.data = tensor->data;
            loaded.shape = tensor->shape;
            loaded.format = tensor->format;
        }
        registry.add(entry.id, std::move(loaded));
    }
    drop_rest(plan, file);
    TRY(registry.compare_with(plan));
    return registry;
}

}  // namespace invar
