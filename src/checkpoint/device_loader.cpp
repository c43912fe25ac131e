#include "checkpoint/device_loader.h"

#include <algorithm>
#include <mutex>

#include "checkpoint/tensor_source.h"

namespace invar {
namespace {

// Large enough that a copy is worth its start (about 10 us at 25 GB/s are 250 KiB), small beside any model.
constexpr int64_t kBufferBytes = int64_t{32} << 20;
constexpr int64_t kRunBytes = int64_t{128} << 10;  // packed by a thread at once

class DeviceLoader {
  public:
    explicit DeviceLoader(const DeviceLoad& load) : load_(load) {}

    Result<DeviceMemory> run() {
        TRY_ASSIGN(const DeviceMemory block,
                   load_.accelerator.allocate(load_.plan.device_block_bytes(), "the weights"));
        int64_t largest = 0, largest_group = 0;
        for (const PlanEntry& entry : load_.plan.entries) {
            if (!goes_there(entry)) continue;
            total_ += entry.file_bytes;
            largest = std::max(largest, entry.bytes);
            largest_group = std::max(largest_group, unit_bytes(entry));
        }
        TRY_ASSIGN(buffer_, AlignedBytes::allocate(std::max(largest_group, std::min(largest, kBufferBytes))));
        const std::vector<int64_t> offsets = load_.plan.device_offsets();
        for (size_t i = 0; i < offsets.size(); ++i) {
            const PlanEntry& entry = load_.plan.entries[i];
            if (offsets[i] < 0) continue;
            const TensorInfo* tensor = load_.file.find(entry.tensor);
            if (tensor == nullptr)
                return fail("{}: tensor '{}' is in the plan but not in the file", load_.file.name(), entry.tensor);
            TRY(entry.kind == WeightShape::vector ? widen(entry, *tensor, block.get() + offsets[i])
                                                  : pack(entry, *tensor, block.get() + offsets[i]));
        }
        TRY(load_.accelerator.wait());
        return block;
    }

  private:
    static bool goes_there(const PlanEntry& entry) { return entry.place == Place::device && !entry.alias_of; }
    // What is packed as a whole: a group of rows, or a vector.
    int64_t unit_bytes(const PlanEntry& entry) const {
        if (entry.kind == WeightShape::vector) return entry.bytes;
        return load_.accelerator.packed_bytes(*entry.source, load_.accelerator.group_rows(), entry.shape.back());
    }

    void add_progress(int64_t bytes) {
        done_ += bytes;
        if (load_.progress) load_.progress(done_, total_);
    }

    Result<void> widen(const PlanEntry& entry, const TensorInfo& tensor, std::byte* to) {
        TensorSource source(load_.file);
        TRY_ASSIGN(const std::byte* from, source.bytes(tensor, 0, entry.file_bytes));
        entry.source->decode(from, entry.shape[0], reinterpret_cast<float*>(buffer_.data()));
        TRY(load_.accelerator.upload(to, buffer_.data(), entry.bytes));
        add_progress(entry.file_bytes);
        return {};
    }

    // Groups [first, last) of all matrices of a tensor, packed one behind the other.
    Result<void> pack_run(const PlanEntry& entry, const TensorInfo& tensor, int64_t first, int64_t last,
                          std::byte* to) const {
        const int64_t columns = entry.shape.back(), rows = entry.shape[entry.shape.size() - 2];
        const int64_t of_group = load_.accelerator.group_rows(), groups = (rows + of_group - 1) / of_group;
        const int64_t row_bytes = entry.source->row_bytes(columns), group_bytes = unit_bytes(entry);
        TensorSource source(load_.file);
        while (first < last) {
            const int64_t matrix = first / groups, group = first % groups;
            const int64_t end = std::min(groups, group + (last - first));
            const int64_t start_row = group * of_group, end_row = std::min(rows, end * of_group);
            TRY_ASSIGN(const std::byte* from, source.bytes(tensor, (matrix * rows + start_row) * row_bytes,
                                                           (end_row - start_row) * row_bytes));
            load_.accelerator.pack({.format = *entry.source,
                                    .stored = from,
                                    .rows = end_row - start_row,
                                    .columns = columns,
                                    .first = 0,
                                    .last = end - group},
                                   to);
            to += (end - group) * group_bytes;
            first += end - group;
        }
        return {};
    }

    // As many groups at a time as the buffer holds, in runs for the threads.
    Result<void> pack(const PlanEntry& entry, const TensorInfo& tensor, std::byte* to) {
        const int64_t group_bytes = unit_bytes(entry), groups = entry.bytes / group_bytes;
        const int64_t at_once = buffer_.size() / group_bytes, of_run = std::max<int64_t>(1, kRunBytes / group_bytes);
        for (int64_t start = 0; start < groups; start += at_once) {
            const int64_t these = std::min(at_once, groups - start);
            std::mutex mutex;
            Result<void> first_error;
            load_.parallel((these + of_run - 1) / of_run, [&](int64_t first, int64_t last) {
                const int64_t begin = first * of_run, end = std::min(these, last * of_run);
                const Result<void> packed =
                    pack_run(entry, tensor, start + begin, start + end, buffer_.data() + begin * group_bytes);
                if (packed) return;
                const std::lock_guard lock(mutex);
                first_error = packed;
            });
            TRY(first_error);
            TRY(load_.accelerator.upload(to + start * group_bytes, buffer_.data(), these * group_bytes));
            add_progress(start + these == groups ? entry.file_bytes - entry.file_bytes / groups * start
                                                 : entry.file_bytes / groups * these);
        }
        return {};
    }

    const DeviceLoad& load_;
    AlignedBytes buffer_;
    int64_t done_ = 0, total_ = 0;
};

}  // namespace

Result<DeviceMemory> fill_device(const DeviceLoad& load) { return DeviceLoader(load).run(); }

}  // namespace invar
