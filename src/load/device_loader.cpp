#include "load/device_loader.h"
#include "layout/rows4.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <vector>

namespace invar {
namespace {

constexpr int64_t kRunBytes = int64_t{128} << 10;  // packed by a thread at once

// Where an entry lies in the block.
struct Placed {
    const PlanEntry* entry = nullptr;
    int64_t begin = 0, end = 0;
    bool scales = false;  // those beside the entry, and not its weights
};

class DeviceLoader {
  public:
    explicit DeviceLoader(const DeviceLoad& load) : load_(load) {}

    Result<DeviceMemory> run() {
        const int64_t bytes = load_.plan.device_block_bytes();
        TRY_ASSIGN(const DeviceMemory block, load_.accelerator.allocate(bytes, "the weights"));
        const std::vector<int64_t> offsets = load_.plan.device_offsets();
        for (size_t i = 0; i < offsets.size(); ++i) {
            const PlanEntry& entry = load_.plan.entries[i];
            if (offsets[i] < 0) continue;
            placed_.push_back({.entry = &entry, .begin = offsets[i], .end = offsets[i] + entry.bytes});
            total_ += entry.file_bytes;
            const int64_t at = offsets[i] + WeightPlan::device_scales_offset(entry);
            if (const int64_t bytes_beside = entry.scale_bytes(); bytes_beside > 0)
                placed_.push_back({.entry = &entry, .begin = at, .end = at + bytes_beside, .scales = true});
        }
        TRY(load_.accelerator.upload_filled(
            block.get(), bytes, [&](int64_t first, std::span<std::byte> piece) { return fill(first, piece); }));
        TRY(load_.accelerator.wait());
        return block;
    }

  private:
    // Pieces come in rising order, and so do the entries: those before next_ are done.
    Result<void> fill(int64_t first, std::span<std::byte> piece) {
        const int64_t last = first + std::ssize(piece);
        int64_t filled = first;
        const auto leave_gap = [&](int64_t to) {  // between aligned entries: NaNs, should anything ever read there
            std::memset(piece.data() + (filled - first), 0xFF, static_cast<size_t>(to - filled));
        };
        for (; next_ < placed_.size() && placed_[next_].begin < last; ++next_) {
            const Placed& placed = placed_[next_];
            const int64_t begin = std::max(first, placed.begin), end = std::min(last, placed.end);
            leave_gap(begin);
            const std::span<std::byte> part =
                piece.subspan(static_cast<size_t>(begin - first), static_cast<size_t>(end - begin));
            TRY(write(placed, begin - placed.begin, part));
            filled = end;
            const int64_t of_file = placed.scales ? 0 : file_bytes_until(placed, end);
            if (load_.progress) load_.progress(done_ + of_file, total_);
            if (placed.end > last) break;
            done_ += of_file;
        }
        leave_gap(last);
        return {};
    }

    // Bytes of what is placed, from `first` on.
    Result<void> write(const Placed& placed, int64_t first, std::span<std::byte> to) const {
        if (placed.scales) {
            const std::vector<float> scales = placed.entry->scales_beside();
            std::memcpy(to.data(), reinterpret_cast<const std::byte*>(scales.data()) + first, to.size());
            return {};
        }
        return placed.entry->kind == WeightShape::vector ? widen(placed, first, to) : pack(placed, first, to);
    }

    static int64_t file_bytes_until(const Placed& placed, int64_t end) {
        const PlanEntry& entry = *placed.entry;
        if (end == placed.end) return entry.file_bytes;
        return static_cast<int64_t>(static_cast<double>(entry.file_bytes) * static_cast<double>(end - placed.begin) /
                                    static_cast<double>(entry.bytes));
    }

    // Bytes of the entry as it is on the device, from `first` on.
    Result<void> widen(const Placed& placed, int64_t first, std::span<std::byte> to) const {
        const PlanEntry& entry = *placed.entry;
        std::vector<float> values(static_cast<size_t>(entry.shape[0]));
        TRY(RowReader(RowReader::Access::read).vector(entry.stored, values.data()));
        std::memcpy(to.data(), reinterpret_cast<const std::byte*>(values.data()) + first, to.size());
        return {};
    }

    // The same of matrices, in runs of whole groups for the threads.
    Result<void> pack(const Placed& placed, int64_t first, std::span<std::byte> to) const {
        const int64_t group_bytes = bytes_of_group(*placed.entry), last = first + std::ssize(to);
        const int64_t start = first / group_bytes, groups = (last + group_bytes - 1) / group_bytes - start;
        const int64_t of_run = std::max<int64_t>(1, kRunBytes / group_bytes);
        std::mutex mutex;
        Result<void> first_error;
        load_.parallel((groups + of_run - 1) / of_run, [&](int64_t begin, int64_t end) {
            const int64_t from_group = start + begin * of_run, to_group = start + std::min(groups, end * of_run);
            const Result<void> packed = pack_part(placed, {from_group, to_group}, first, to);
            if (packed) return;
            const std::lock_guard lock(mutex);
            first_error = packed;
        });
        return first_error;
    }

    int64_t bytes_of_group(const PlanEntry& entry) const {
        return load_.accelerator.packed_bytes(*entry.source, load_.accelerator.group_rows(), entry.shape.back());
    }

    struct GroupRange {
        int64_t first = 0, last = 0;
    };

    // Groups of an entry into `to`, which holds the entry's bytes from `first` on. A group that the ends of `to` cut is
    // packed aside.
    Result<void> pack_part(const Placed& placed, GroupRange groups, int64_t first, std::span<std::byte> to) const {
        const int64_t group_bytes = bytes_of_group(*placed.entry), last = first + std::ssize(to);
        const auto pack_cut = [&](int64_t group) -> Result<void> {
            std::vector<std::byte> whole(static_cast<size_t>(group_bytes));
            TRY(pack_run(*placed.entry, group, group + 1, whole.data()));
            const int64_t begin = std::max(first, group * group_bytes);
            const int64_t end = std::min(last, (group + 1) * group_bytes);
            std::memcpy(to.data() + (begin - first), whole.data() + (begin - group * group_bytes),
                        static_cast<size_t>(end - begin));
            return {};
        };
        if (groups.first * group_bytes < first) TRY(pack_cut(groups.first++));
        if (groups.first < groups.last && groups.last * group_bytes > last) TRY(pack_cut(--groups.last));
        if (groups.first == groups.last) return {};
        return pack_run(*placed.entry, groups.first, groups.last, to.data() + (groups.first * group_bytes - first));
    }

    // Groups [first, last) of all matrices of a tensor, packed one behind the other.
    Result<void> pack_run(const PlanEntry& entry, int64_t first, int64_t last, std::byte* to) const {
        const int64_t columns = entry.shape.back(), rows = entry.shape[entry.shape.size() - 2];
        const int64_t of_group = load_.accelerator.group_rows(), groups = (rows + of_group - 1) / of_group;
        const int64_t group_bytes = bytes_of_group(entry);
        RowReader reader(RowReader::Access::read);
        while (first < last) {
            const int64_t matrix = first / groups, group = first % groups;
            const int64_t end = std::min(groups, group + (last - first));
            const int64_t start_row = group * of_group, end_row = std::min(rows, end * of_group);
            TRY_ASSIGN(const std::byte* from,
                       reader.rows(entry.stored, matrix * rows + start_row, end_row - start_row));
            if (!rows4_scales_agree(*entry.source, from, end_row - start_row, columns, 0, end - group)) {
                return fail(
                    "{} (tensor '{}') has other scales in neighbouring rows, but the device holds one scale for "
                    "four rows and {} columns of {}; use --device cpu --form as-stored",
                    to_string(entry.id), entry.tensor, entry.source->block_weights, entry.source->name);
            }
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

    const DeviceLoad& load_;
    std::vector<Placed> placed_;  // by `begin`
    size_t next_ = 0;
    int64_t done_ = 0, total_ = 0;  // bytes of the file
};

}  // namespace

Result<DeviceMemory> fill_device(const DeviceLoad& load) { return DeviceLoader(load).run(); }

}  // namespace invar
