// Free units are a stack, cached units a ring in the order of their last use: see unit_pool.h.
#include "state/unit_pool.h"

#include <utility>

#include "base/check.h"

namespace invar {

UnitPool::UnitPool(int64_t units, Evicted evicted) : evicted_(std::move(evicted)) {
    const auto count = static_cast<size_t>(units);
    free_.resize(count);
    // Units are taken from the end.
    for (size_t i = 0; i < count; ++i) free_[i] = static_cast<int32_t>(count - 1 - i);
    refs_.assign(count, 0);
    nodes_.assign(count, kNoUnit);
    next_.assign(count + 1, kNoUnit);
    before_.assign(count + 1, kNoUnit);
    next_[count] = before_[count] = static_cast<int32_t>(count);
}

int32_t UnitPool::take() {
    CHECK(available() > 0, "units are counted before they are taken");
    int32_t unit = kNoUnit;
    if (!free_.empty()) {
        unit = free_.back();
        free_.pop_back();
    } else {
        unit = next_[static_cast<size_t>(size())];
        unlink(unit);
        const int32_t node = std::exchange(nodes_[static_cast<size_t>(unit)], kNoUnit);
        evicted_(node);
    }
    refs_[static_cast<size_t>(unit)] = 1;
    return unit;
}

void UnitPool::share(int32_t unit) {
    if (refs_[static_cast<size_t>(unit)]++ > 0) return;
    CHECK(next_[static_cast<size_t>(unit)] != kNoUnit, "only a unit with content is shared");
    unlink(unit);
}

void UnitPool::release(int32_t unit) {
    CHECK(refs_[static_cast<size_t>(unit)] > 0, "only a unit that is held is given back");
    if (--refs_[static_cast<size_t>(unit)] > 0) return;
    if (node(unit) != kNoUnit) {
        link(unit);
    } else {
        free_.push_back(unit);
    }
}

void UnitPool::set_node(int32_t unit, int32_t node) {
    CHECK(refs_[static_cast<size_t>(unit)] > 0, "the content of a unit changes only while it is held");
    nodes_[static_cast<size_t>(unit)] = node;
}

void UnitPool::link(int32_t unit) {
    const auto head = static_cast<int32_t>(size());
    const int32_t last = before_[static_cast<size_t>(head)];
    next_[static_cast<size_t>(last)] = unit;
    before_[static_cast<size_t>(unit)] = last;
    next_[static_cast<size_t>(unit)] = head;
    before_[static_cast<size_t>(head)] = unit;
    ++cached_;
}

void UnitPool::unlink(int32_t unit) {
    const int32_t next = next_[static_cast<size_t>(unit)], before = before_[static_cast<size_t>(unit)];
    next_[static_cast<size_t>(before)] = next;
    before_[static_cast<size_t>(next)] = before;
    next_[static_cast<size_t>(unit)] = before_[static_cast<size_t>(unit)] = kNoUnit;
    --cached_;
}

}  // namespace invar
