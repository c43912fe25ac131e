// Finds the position of a name in a list that the caller keeps, such as the tensors of a file. The table holds
// positions and parts of hashes, and no names, so that building it for 100,000 tensors takes a few milliseconds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

namespace invar {

class NameIndex {
  public:
    // For that many names without a change of the table's size.
    void reserve(size_t names) {
        size_t wanted = kLeast;
        while (wanted < 2 * names) wanted *= 2;
        if (wanted > slots_.size()) resize(wanted);
    }

    // Adds the name at `position`, which is below 2^32 - 1; name_at(position) is its text, now and in every later call.
    // If the same name is there already, nothing is added, and its position is returned.
    template <class NameAt>
    std::optional<size_t> add(size_t position, NameAt&& name_at) {
        if (2 * (names_ + 1) > slots_.size()) resize(slots_.empty() ? kLeast : 2 * slots_.size());
        const std::string_view name = name_at(position);
        const size_t hash = std::hash<std::string_view>()(name);
        size_t place = place_of(name, hash, name_at);
        if (slots_[place].position != kFree) return slots_[place].position;
        slots_[place] = {static_cast<uint32_t>(position), static_cast<uint32_t>(hash)};
        ++names_;
        return std::nullopt;
    }

    template <class NameAt>
    std::optional<size_t> find(std::string_view name, NameAt&& name_at) const {
        if (slots_.empty()) return std::nullopt;
        const Slot& slot = slots_[place_of(name, std::hash<std::string_view>()(name), name_at)];
        return slot.position == kFree ? std::nullopt : std::optional<size_t>(slot.position);
    }

  private:
    static constexpr uint32_t kFree = ~uint32_t{0};
    static constexpr size_t kLeast = 16;
    struct Slot {
        uint32_t position = kFree, hash = 0;  // the low half of it
    };

    // The slot that holds the name, or the free one where it belongs. The size is a power of two up to 2^32.
    template <class NameAt>
    size_t place_of(std::string_view name, size_t hash, NameAt&& name_at) const {
        const size_t mask = slots_.size() - 1;
        size_t place = static_cast<uint32_t>(hash) & mask;
        while (slots_[place].position != kFree &&
               (slots_[place].hash != static_cast<uint32_t>(hash) || name_at(slots_[place].position) != name))
            place = (place + 1) & mask;
        return place;
    }

    void resize(size_t slots) {
        std::vector<Slot> before(slots);
        before.swap(slots_);
        for (const Slot& slot : before) {
            if (slot.position == kFree) continue;
            size_t place = slot.hash & (slots - 1);
            while (slots_[place].position != kFree) place = (place + 1) & (slots - 1);
            slots_[place] = slot;
        }
    }

    size_t names_ = 0;
    std::vector<Slot> slots_;
};

}  // namespace invar
