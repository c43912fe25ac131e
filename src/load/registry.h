// The loaded weights by identity: owns their memory, hands out views, and can be compared with the plan it came from.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "checkpoint/weight_plan.h"

namespace invar {

// Memory aligned for vector loads and huge pages, or a part of such memory, which lives as long as one of its parts;
// empty when bytes is 0.
class AlignedBytes {
  public:
    AlignedBytes() = default;
    static Result<AlignedBytes> allocate(int64_t bytes);
    // The bytes [offset, offset + bytes) of this.
    AlignedBytes part(int64_t offset, int64_t bytes) const;
    std::byte* data() const { return memory_.get(); }
    int64_t size() const { return size_; }

  private:
    std::shared_ptr<std::byte> memory_;
    int64_t size_ = 0;
};

class WeightRegistry final : public WeightSource {
  public:
    struct Entry {
        WeightShape kind = WeightShape::matrix;
        std::vector<int64_t> shape;
        const Format* format = nullptr;
        StoredForm form = StoredForm::as_stored;
        int64_t bytes = 0;  // of its storage; shared by aliases
        float scale = 1;    // of a matrix as a whole
        // Beside the weights, at the same place: one for each expert, one for each row; null: none. On the host they
        // are the plan's own, which outlives the registry.
        const float* expert_scales = nullptr;
        const float* row_scales = nullptr;
        const std::byte* data = nullptr;
        AlignedBytes owned;  // empty: the bytes are a mapped file's, another entry's, or the device's
        std::optional<WeightId> alias_of;
        Place place = Place::host;  // of Place::device the host must not read `data`
        DeviceMemory device;        // what keeps it there
    };

    // A registry with every entry of the plan and no memory: what plan-time passes run on.
    static WeightRegistry without_memory(const WeightPlan& plan);

    // A second entry for one id is a bug.
    void add(WeightId id, Entry entry);
    const Entry* find(WeightId id) const;
    size_t size() const { return entries_.size(); }

    WeightMatrix matrix(WeightId id) const override;
    WeightStack stack(WeightId id) const override;
    WeightVector vector(WeightId id) const override;
    bool has(WeightId id) const override { return entries_.contains(id); }

    // Every difference between the plan and what is here, as an error that names the first.
    Result<void> compare_with(const WeightPlan& plan) const;
    // Bytes of distinct storage.
    int64_t bytes() const;

  private:
    const Entry& resolve(WeightId id, WeightShape kind) const;

    std::map<WeightId, Entry> entries_;
};

}  // namespace invar
