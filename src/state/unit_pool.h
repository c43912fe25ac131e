// The pages of a group, or its slots, by number: which are free, how many sequences hold each, and which are kept
// without a holder because their content is known (cached). When no unit is free, a cached one is given out, the
// longest unused first. Memory and content are handled by state_memory.h, prefix_tree.h and sequence_state.h.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace invar {

inline constexpr int32_t kNoUnit = -1;

class UnitPool {
  public:
    // Called with the node of a cached unit that is about to be given out for other content.
    using Evicted = std::function<void(int32_t node)>;
    UnitPool(int64_t units, Evicted evicted);

    int64_t size() const { return static_cast<int64_t>(refs_.size()); }
    // The units that take() can give: free and cached ones.
    int64_t available() const { return static_cast<int64_t>(free_.size()) + cached_; }
    int64_t cached() const { return cached_; }

    // Returns a unit without content, held once. One must be available. A fresh pool gives 0, 1, 2, ...
    int32_t take();
    // Adds a holder; a cached unit is held again.
    void share(int32_t unit);
    // Removes a holder. Without holders the unit is cached if it has a node, otherwise free.
    void release(int32_t unit);
    int holders(int32_t unit) const { return refs_[static_cast<size_t>(unit)]; }
    // The node of the prefix tree whose content the unit has; kNoUnit if the content has no name. Cached units keep
    // theirs.
    int32_t node(int32_t unit) const { return nodes_[static_cast<size_t>(unit)]; }
    void set_node(int32_t unit, int32_t node);

  private:
    void link(int32_t unit);
    void unlink(int32_t unit);

    Evicted evicted_;
    std::vector<int32_t> free_;
    std::vector<int32_t> refs_, nodes_;
    // Cached units form a ring, the longest unused after the head. The head is the entry behind the last unit.
    std::vector<int32_t> next_, before_;
    int64_t cached_ = 0;
};

}  // namespace invar
