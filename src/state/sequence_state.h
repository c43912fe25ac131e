// What sequences of tokens have computed so far, so that the next token needs no more than itself: pages of keys and
// values, pages of windows, states of recurrences. It decides which sequences hold a page or slot and share it, when a
// copy is made, and how far back a sequence can go. Geometry: geometry.h; memory: state_memory.h; which content
// is known: prefix_tree.h. It does not decide when sequences start or end (generate/), nor how attention reads pages
// (cpu/, cuda/). In prose: docs/state.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "state/prefix_tree.h"
#include "state/state_memory.h"
#include "state/unit_pool.h"

namespace invar {

// Keys of a page and head are stored [key_width][64] (a vector of 64 keys for each element, so that keys are lanes);
// values [64][value_width], or, where they lie in the keys, as the first value_width rows of those.
class SequenceState {
  public:
    struct Settings {
        StateGeometry geometry;
        std::vector<int64_t> units;                               // of each group of lay_out_state(geometry)
        int64_t sequences = std::numeric_limits<int32_t>::max();  // at one time
        std::string digest;  // of model, arithmetic and cache type: content is shared only where it is equal
        DevicePart device = {};
        PrefixTree::KeyOf key_of = nullptr;  // nullptr: XXH3-128
    };
    static Result<std::unique_ptr<SequenceState>> create(Settings settings);
    // So many units of each group, all on the host.
    static Result<std::unique_ptr<SequenceState>> create(std::vector<KvGeometry> layers, CacheType type, int64_t units);
    // Geometry without memory, for planning passes.
    static std::unique_ptr<SequenceState> without_memory(std::vector<KvGeometry> layers, CacheType type,
                                                         std::vector<Place> places = {});

    CacheType type() const { return geometry_.type; }
    std::span<const KvGeometry> layers() const { return geometry_.layers; }
    std::span<const StateGroup> groups() const { return memory_.layout().groups; }
    const LayerPlace& layer_place(int layer) const { return memory_.layout().layers[static_cast<size_t>(layer)]; }
    Place place(int layer) const { return layer_place(layer).place; }
    int group_of(int layer) const { return layer_place(layer).group; }
    // Of the layer's group, at the layer's place.
    const StateMemory::Pool& pool(int layer) const { return memory_.pool(group_of(layer), place(layer)); }
    int64_t bytes() const { return memory_.bytes(); }
    std::span<std::byte> memory() const { return memory_.host(); }  // all of the host's
    // Units that sequences can still get: free ones, and cached ones that no sequence holds.
    int64_t available(int group = 0) const { return pools_[static_cast<size_t>(group)].available(); }
    int64_t cached(int group = 0) const { return pools_[static_cast<size_t>(group)].cached(); }
    int64_t units(int group = 0) const { return pools_[static_cast<size_t>(group)].size(); }
    int holders(int group, int32_t unit) const { return pools_[static_cast<size_t>(group)].holders(unit); }

    // A new empty sequence; its slot number, the lowest that is unused. There is room for it. Content is shared among
    // sequences of one salt only.
    bool has_room() const { return in_use_ < most_sequences_; }
    int32_t add_sequence(std::string_view salt = {});
    void remove_sequence(int32_t sequence);
    // Another sequence with the same tokens, which holds the same units. There is room for it.
    int32_t fork(int32_t sequence);

    int64_t length(int32_t sequence) const { return of(sequence).length; }
    // Those that advance() named, from position 0 on; fewer than length() where it did not name all.
    std::span<const int32_t> tokens(int32_t sequence) const { return of(sequence).tokens; }
    // Makes positions [length, count) writable: what is shared there is copied first, and pages that no position from
    // length() on sees through a window are given back. Fails (busy), changing nothing, when too few units are
    // available; or because a device was lost.
    Result<void> reserve(int32_t sequence, int64_t count);
    // The next positions have been computed; they were reserved. With tokens, their content is known by them, and full
    // pages can be found by attach_prefix(); without, it is not.
    void advance(int32_t sequence, std::span<const int32_t> tokens);
    void advance(int32_t sequence, int64_t count);
    // An empty sequence is at `position`, and what it holds before is whatever memory holds (measurements).
    void skip_to(int32_t sequence, int64_t position);
    // Goes back to the largest position at or before `position` whose state is known, and says which: a window that
    // has given pages back, or a recurrence without a snapshot, may not know `position` itself.
    int64_t rewind(int32_t sequence, int64_t position);
    // An empty sequence takes over as many of these tokens as other sequences have computed, in whole pages; how many.
    int64_t attach_prefix(int32_t sequence, std::span<const int32_t> tokens);
    // Keeps the state of recurrences as it is at length(), so that the sequence can go back there, and others attach
    // where it is a multiple of 64. false: no slot is available for it. Nothing to do without recurrences.
    Result<bool> snapshot(int32_t sequence);

    // The pages that hold the layer's keys and values: page p has positions [64 p, 64 p + 64); kNoUnit where a window
    // has given it back.
    std::span<const int32_t> pages_of(int32_t sequence, int layer) const { return table(sequence, group_of(layer)); }
    std::span<const int32_t> table(int32_t sequence, int group) const {
        return of(sequence).tables[static_cast<size_t>(group)];
    }
    // On the host. Those of a device's layer are a copy that holds what Ops::to_host() brought, for observers.
    std::byte* keys(int layer, int32_t page, int head) const;    // [key_width][64]
    std::byte* values(int layer, int32_t page, int head) const;  // [64][value_width]
    // The state of a recurrence, then its columns, of a sequence that was reserved. Zeros at position 0.
    std::span<float> recurrence(int32_t sequence, int layer) const;

  private:
    struct Snapshot {
        int64_t position;
        int32_t slot;
    };
    struct Sequence {
        bool used = false;
        int64_t length = 0;
        std::vector<int32_t> tokens;
        std::vector<int32_t> chain;  // nodes of the whole pages of `tokens`, the root first; the last is held
        std::vector<std::vector<int32_t>> tables;  // by group; of a recurrence: the slot of its state, or nothing
        std::vector<Snapshot> snapshots;           // those that no node names, in rising order
    };
    // What a group lacks before positions up to a count can be written.
    struct Need {
        int64_t first = 0, last = 0;  // pages [first, last) are to be held
        int64_t units = 0;            // to take
        int64_t given_back = 0;       // become available by dropping pages before `first`
    };

    SequenceState(StateGeometry geometry, StateMemory memory, Settings settings);
    const Sequence& of(int32_t sequence) const;
    Sequence& of(int32_t sequence);
    UnitPool& pool_of(int group) { return pools_[static_cast<size_t>(group)]; }

    int64_t first_page(int group, int64_t position) const;
    Need need(const Sequence& sequence, int group, int64_t count) const;
    tl::unexpected<Error> refuse(int32_t sequence, int group, const Need& need, int64_t count) const;
    Result<void> make_writable(Sequence& sequence, int group);
    Result<void> make_slot_writable(Sequence& sequence, int group);
    Result<void> take_copy(int group, int32_t& unit);
    void drop_name(int group, int32_t unit);
    int64_t spare_snapshots() const;
    void give_up_snapshot();
    void name_pages(Sequence& sequence);
    int32_t known_page(const Sequence& sequence, int group, int64_t page) const;
    Snapshot known_state(const Sequence& sequence, int64_t position) const;
    int64_t last_known(const Sequence& sequence, int64_t position) const;
    void settle(Sequence& sequence, int64_t position);
    void release_tail(Sequence& sequence, int group, int64_t pages);

    StateGeometry geometry_;
    StateMemory memory_;
    int recurrences_ = -1;  // their group, or -1
    int64_t most_sequences_ = 0, in_use_ = 0;
    std::unique_ptr<PrefixTree> tree_;
    std::vector<UnitPool> pools_;  // by group
    std::vector<Sequence> sequences_;
};

}  // namespace invar
