// Allocates the groups at both places, and copies and clears units on the host and through the device's copies: see
// state_memory.h.
#include "state/state_memory.h"

#include <cstring>
#include <limits>
#include <utility>

#include "base/huge_pages.h"

namespace invar {
namespace {

tl::unexpected<Error> no_memory(const StateLayout& layout, std::span<const int64_t> units, CacheType type) {
    const StateGroup& group = layout.groups.front();
    return fail(ErrorKind::out_of_memory,
                "no memory for a KV cache of {} positions ({} pages of {} bytes in {}); ask for a shorter context or a "
                "smaller cache type",
                units.front() * kPagePositions, units.front(), group.bytes(), cache_type_name(type));
}

}  // namespace

StateMemory StateMemory::without_memory(StateLayout layout) {
    StateMemory memory;
    memory.units_.assign(layout.groups.size(), 0);
    memory.pools_.resize(layout.groups.size() * 2);
    memory.layout_ = std::move(layout);
    return memory;
}

Result<StateMemory> StateMemory::create(StateLayout layout, const StateGeometry& geometry, std::vector<int64_t> units,
                                        DevicePart device) {
    for (const int64_t count : units) {
        if (count >= 0 && count <= std::numeric_limits<int32_t>::max()) continue;
        return fail(
            "a KV cache of {} pages of {} positions was asked for, but at most {} pages are possible; ask for a "
            "shorter context",
            count, kPagePositions, std::numeric_limits<int32_t>::max());
    }
    StateMemory memory = without_memory(std::move(layout));
    for (const Place place : {Place::host, Place::device}) {
        const auto index = static_cast<size_t>(place);
        const int64_t bytes = state_bytes(memory.layout_.groups, units, place);
        if (place == Place::device && bytes == 0) continue;
        std::shared_ptr<std::byte> mapping;
        if (bytes != std::numeric_limits<int64_t>::max()) {
            mapping = map_huge_pages(static_cast<size_t>(bytes),
                                     place == Place::device ? MemoryPromise::none : MemoryPromise::kept);
        }
        if (mapping == nullptr) return no_memory(memory.layout_, units, geometry.type);
        memory.bytes_[index] = bytes;
        if (place == Place::host) memory.host_ = mapping;
        for (size_t g = 0; g < units.size(); ++g) {
            Pool& pool = memory.pools_[g * 2 + index];
            pool.unit_bytes = memory.layout_.groups[g].bytes(place);
            pool.bytes = pool.unit_bytes * units[g];
            if (pool.bytes == 0) continue;
            // It is the last group of those before it, so their bytes say where it starts.
            const int64_t start =
                state_bytes(std::span(memory.layout_.groups).first(g + 1), std::span(units).first(g + 1), place) -
                pool.bytes;
            const std::shared_ptr<std::byte> part(mapping, mapping.get() + start);
            (place == Place::host ? pool.memory : pool.copy) = part;
            if (place == Place::device && device.memory)
                pool.memory = std::shared_ptr<std::byte>(device.memory, device.memory.get() + start);
        }
    }
    memory.units_ = std::move(units);
    memory.device_ = std::move(device);
    return memory;
}

std::byte* StateMemory::unit_of(int layer, int32_t unit) const {
    const LayerPlace& place = layout_.layers[static_cast<size_t>(layer)];
    const Pool& pool = this->pool(place.group, place.place);
    return (place.place == Place::host ? pool.memory : pool.copy).get() + unit * pool.unit_bytes;
}

Result<void> StateMemory::copy_unit(int group, int32_t from, int32_t to) {
    const Pool& host = pool(group, Place::host);
    const auto at = [](const std::shared_ptr<std::byte>& memory, const Pool& pool, int32_t unit) {
        return memory.get() + unit * pool.unit_bytes;
    };
    if (host.unit_bytes > 0)
        std::memcpy(at(host.memory, host, to), at(host.memory, host, from), static_cast<size_t>(host.unit_bytes));
    const Pool& device = pool(group, Place::device);
    if (device.unit_bytes == 0 || !device_.download) return {};
    TRY(device_.download(at(device.copy, device, to), at(device.memory, device, from), device.unit_bytes));
    return device_.upload(at(device.memory, device, to), at(device.copy, device, to), device.unit_bytes);
}

Result<void> StateMemory::clear_unit(int group, int32_t unit) {
    for (const Place place : {Place::host, Place::device}) {
        const Pool& pool = this->pool(group, place);
        if (pool.unit_bytes == 0) continue;
        std::byte* start = (place == Place::host ? pool.memory : pool.copy).get() + unit * pool.unit_bytes;
        std::memset(start, 0, static_cast<size_t>(pool.unit_bytes));
        if (place == Place::device && device_.upload)
            TRY(device_.upload(pool.memory.get() + unit * pool.unit_bytes, start, pool.unit_bytes));
    }
    return {};
}

}  // namespace invar
