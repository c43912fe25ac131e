#include "load/loader.h"

#include <malloc.h>

#include <algorithm>

#include "checkpoint/stored_bytes.h"
#include "load/device_loader.h"
#include "load/repack.h"

namespace invar {

namespace {

int64_t loaded_bytes(const PlanEntry& entry) {
    if (entry.alias_of) return 0;
    return entry.place == Place::device ? entry.bytes : stored_bytes(*entry.source, entry.form, entry.shape);
}

// The file's pages that belong to no weight that stays as stored, its header among them, have been read into this
// process and are of no more use: without this they would count as its memory.
void drop_rest(const WeightPlan& plan, const Checkpoint& checkpoint) {
    for (size_t part = 0; part < checkpoint.mappings().size(); ++part) {
        const MappedFile& mapping = *checkpoint.mappings()[part];
        uint64_t first = mapping.bytes().size();  // behind the header, which the tokenizer reads
        for (const TensorInfo& tensor : checkpoint.tensors()) {
            if (static_cast<size_t>(tensor.file_index) == part) first = std::min(first, tensor.file_offset);
        }
        std::vector<std::pair<uint64_t, uint64_t>> kept;  // begin, end
        for (const PlanEntry& entry : plan.entries) {
            if (entry.alias_of || entry.place == Place::device || entry.has_own_bytes()) continue;
            const StoredWeight::Place place = entry.stored.place_of(0);
            if (static_cast<size_t>(place.file_index) != part) continue;
            const auto begin = static_cast<uint64_t>(place.offset);
            kept.emplace_back(begin, begin + static_cast<uint64_t>(entry.stored.bytes()));
        }
        std::sort(kept.begin(), kept.end());
        for (const auto& [begin, end] : kept) {
            if (begin > first) mapping.drop(first, begin - first);
            first = std::max(first, end);
        }
        if (first < mapping.bytes().size()) mapping.drop(first, mapping.bytes().size() - first);
    }
}

const float* start_of(std::span<const float> numbers) { return numbers.empty() ? nullptr : numbers.data(); }

struct Storage {
    const std::byte* data;
    AlignedBytes owned;
};

Result<DeviceMemory> load_device(const WeightPlan& plan, const HomedWork& homed, const LoadProgress& progress,
                                 Accelerator* accelerator) {
    if (plan.device_block_bytes() == 0) return DeviceMemory();
    CHECK(accelerator != nullptr, "a plan with a device is loaded with one");
    const ParallelRanges anywhere = [&](int64_t count, const std::function<void(int64_t, int64_t)>& work) {
        homed.run(
            count, [](int64_t) { return 0; }, [&](int64_t item) { work(item, item + 1); });
    };
    return fill_device({plan, anywhere, progress, *accelerator});
}

// `storage_of(index)` of the entries with bytes of their own; those of the device are in `device_block`.
Result<WeightRegistry> register_weights(const WeightPlan& plan, const Checkpoint& checkpoint,
                                        const DeviceMemory& device_block,
                                        const std::function<Storage(size_t index)>& storage_of) {
    const std::vector<int64_t> device_offsets = plan.device_offsets();
    WeightRegistry registry;
    for (size_t i = 0; i < plan.entries.size(); ++i) {
        const PlanEntry& entry = plan.entries[i];
        WeightRegistry::Entry loaded{.kind = entry.kind,
                                     .shape = entry.shape,
                                     .format = entry.source,
                                     .form = entry.form,
                                     .bytes = loaded_bytes(entry),
                                     .scale = entry.kind == WeightShape::matrix ? entry.stored.scale_of(0) : 1.0f,
                                     .expert_scales = start_of(entry.expert_scales()),
                                     .row_scales = start_of(entry.stored.row_scales),
                                     .data = nullptr,
                                     .owned = {},
                                     .alias_of = entry.alias_of,
                                     .place = entry.place,
                                     .device = nullptr};
        if (device_offsets[i] >= 0) {
            loaded.device = DeviceMemory(device_block, device_block.get() + device_offsets[i]);
            loaded.data = loaded.device.get();
            const std::span<const float> of_experts = entry.expert_scales();
            const auto* beside = reinterpret_cast<const float*>(loaded.data + WeightPlan::device_scales_offset(entry));
            loaded.expert_scales = of_experts.empty() ? nullptr : beside;
            loaded.row_scales = entry.stored.row_scales.empty() ? nullptr : beside + of_experts.size();
        } else if (entry.has_own_bytes()) {
            Storage storage = storage_of(i);
            loaded.data = storage.data;
            loaded.owned = std::move(storage.owned);
        } else if (!entry.alias_of) {
            loaded.data = entry.stored.in_place();
            loaded.shape = entry.stored.shape;
            loaded.format = entry.stored.format;
        }
        registry.add(entry.id, std::move(loaded));
    }
    drop_rest(plan, checkpoint);
    TRY(registry.compare_with(plan));
#ifdef __GLIBC__
    ::malloc_trim(0);  // the threads' buffers are free, but the allocator would keep them resident beside the plan
#endif
    return registry;
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

Result<WeightRegistry> load_weights(const WeightPlan& plan, const Checkpoint& checkpoint,
                                    const ParallelRanges& parallel, const LoadProgress& progress,
                                    Accelerator* accelerator) {
    return load_weights(plan, checkpoint, homeless(parallel), progress, accelerator);
}

Result<WeightRegistry> load_weights(const WeightPlan& plan, const Checkpoint& checkpoint, const HomedWork& homed,
                                    const LoadProgress& progress, Accelerator* accelerator) {
    const PackedPlaces places = packed_places(plan);
    TRY_ASSIGN(const AlignedBytes block, AlignedBytes::allocate(places.bytes));
    TRY(fill_packed(plan, places, homed, progress, block.data()));
    TRY_ASSIGN(const DeviceMemory device_block, load_device(plan, homed, progress, accelerator));
    return register_weights(plan, checkpoint, device_block, [&](size_t index) {
        AlignedBytes own = block.part(places.offsets[index], plan.entries[index].bytes);
        return Storage{own.data(), own};
    });
}

Result<WeightRegistry> load_mapped(const WeightPlan& plan, const Checkpoint& checkpoint, const PackedBytes& packed,
                                   const HomedWork& homed, const LoadProgress& progress, Accelerator* accelerator) {
    TRY_ASSIGN(const DeviceMemory device_block, load_device(plan, homed, progress, accelerator));
    return register_weights(plan, checkpoint, device_block, [&](size_t index) {
        return Storage{packed(plan.entries[index]), {}};
    });
}

}  // namespace invar
