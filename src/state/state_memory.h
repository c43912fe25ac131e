// The memory of sequence state: one mapping on the host and one allocation on a device, split into groups and units
// (geometry.h). It gives addresses, and copies and clears units. sequence_state.h decides which sequence has which
// unit.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "state/geometry.h"

namespace invar {

// Device memory for the layers whose place is the device: state_bytes(groups, units, Place::device) bytes. Without
// copies no unit of it can be shared.
struct DevicePart {
    std::shared_ptr<std::byte> memory;
    std::function<Result<void>(std::byte* to, const void* from, int64_t bytes)> upload;
    std::function<Result<void>(void* to, const std::byte* from, int64_t bytes)> download;
};

class StateMemory {
  public:
    // The units of a group at a place: unit u starts at memory + u * unit_bytes.
    struct Pool {
        std::shared_ptr<std::byte> memory;  // for Place::device the host must not read it
        std::shared_ptr<std::byte> copy;    // for Place::device: as large; untouched pages take no memory
        int64_t unit_bytes = 0, bytes = 0;
    };

    // `units` is by group. Fails if that is more than the system has.
    static Result<StateMemory> create(StateLayout layout, const StateGeometry& geometry, std::vector<int64_t> units,
                                      DevicePart device);
    // Gives addresses without memory, for planning passes.
    static StateMemory without_memory(StateLayout layout);

    const StateLayout& layout() const { return layout_; }
    int64_t units(int group) const { return units_[static_cast<size_t>(group)]; }
    int64_t bytes() const { return bytes_[0] + bytes_[1]; }
    std::span<std::byte> host() const { return {host_.get(), static_cast<size_t>(bytes_[0])}; }
    const Pool& pool(int group, Place place) const {
        return pools_[static_cast<size_t>(group) * 2 + static_cast<size_t>(place)];
    }
    // Host memory. For a device's layer it is a copy that holds what Ops::to_host() brought.
    std::byte* unit_of(int layer, int32_t unit) const;

    // Copies at both places. Fails if a device was lost; the destination unit is then useless.
    Result<void> copy_unit(int group, int32_t from, int32_t to);
    Result<void> clear_unit(int group, int32_t unit);

  private:
    StateLayout layout_;
    std::vector<int64_t> units_;
    std::vector<Pool> pools_;  // [group][place]
    std::shared_ptr<std::byte> host_;
    int64_t bytes_[2] = {0, 0};  // by Place
    DevicePart device_;
};

}  // namespace invar
