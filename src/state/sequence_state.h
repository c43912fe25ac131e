// What sequences of tokens have computed so far, so that the next token needs no recomputation: pages of keys and
// values, pages of windows, states of recurrences. It decides which sequences hold and share a page or slot, when a
// copy is made, and how far back a sequence can go. Geometry: geometry.h; memory: state_memory.h; the index of known
// content: prefix_tree.h. Sequences are started and ended by generate/, and attention reads pages in cpu/ and cuda/.
// The design: docs/state.md.
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
// values [64][value_width]. If values lie in the keys, they are the first value_width rows of those.
class SequenceState {
  public:
    struct Settings {
        StateGeometry geometry;
        std::vector<int64_t> units;                               // for each group of lay_out_state(geometry)
        int64_t sequences = std::numeric_limits<int32_t>::max();  // at one time
        std::string digest;  // of model, arithmetic and cache type: content is shared only between equal digests
        DevicePart device = {};
        PrefixTree::KeyOf key_of = nullptr;  // nullptr: XXH3-128
    };
    static Result<std::unique_ptr<SequenceState>> create(Settings settings);
    // Creates `units` units of each group, all on the host.
    static Result<std::unique_ptr<SequenceState>> create(std::vector<KvGeometry> layers, CacheType type, int64_t units);
    // Creates the geometry without memory, for planning passes.
    static std::unique_ptr<SequenceState> without_memory(StateGeometry geometry);

    CacheType type() const { return geometry_.type; }
    std::span<const KvGeometry> layers() const { return geometry_.layers; }
    std::span<const StateGroup> groups() const { return memory_.layout().groups; }
    const LayerPlace& layer_place(int layer) const { return memory_.layout().layers[static_cast<size_t>(layer)]; }
    Place place(int layer) const { return layer_place(layer).place; }
    int group_of(int layer) const { return layer_place(layer).group; }
    // The pool of the layer's group, at the layer's place.
    const StateMemory::Pool& pool(int layer) const { return memory_.pool(group_of(layer), place(layer)); }
    int64_t bytes() const { return memory_.bytes(); }
    std::span<std::byte> memory() const { return memory_.host(); }  // all of the host's
    // Units that sequences can still get: free ones, and cached ones that no sequence holds.
    int64_t available(int group = 0) const { return pools_[static_cast<size_t>(group)].available(); }
    int64_t cached(int group = 0) const { return pools_[static_cast<size_t>(group)].cached(); }
    int64_t units(int group = 0) const { return pools_[static_cast<size_t>(group)].size(); }
    int holders(int group, int32_t unit) const { return pools_[static_cast<size_t>(group)].holders(unit); }

    // Whether a layer sees both ways. Then what a position has computed depends on those behind it: a sequence is
    // computed in one pass, shares no page by content, and goes back only to position 0.
    bool sees_both_ways() const { return sees_both_ways_; }

    // Adds an empty sequence and returns its slot number, the lowest unused one. There must be room. Content is shared
    // only among sequences of one salt.
    bool has_room() const { return in_use_ < most_sequences_; }
    int32_t add_sequence(std::string_view salt = {});
    void remove_sequence(int32_t sequence);
    // Adds a sequence with the same tokens, which holds the same units. There must be room.
    int32_t fork(int32_t sequence);

    int64_t length(int32_t sequence) const { return of(sequence).length; }
    // The tokens that advance() named, from position 0 on; fewer than length() if it did not name all.
    std::span<const int32_t> tokens(int32_t sequence) const { return of(sequence).tokens; }
    // Makes positions [length, count) writable. Shared pages there are copied first, and pages that no position from
    // length() on sees through a window are given back. If too few units are available it fails (busy) and changes
    // nothing; it also fails if a device was lost.
    Result<void> reserve(int32_t sequence, int64_t count);
    // Records that the next positions, which must be reserved, have been computed. With tokens, their content is known
    // by them and attach_prefix() can find full pages; without tokens it cannot.
    void advance(int32_t sequence, std::span<const int32_t> tokens);
    void advance(int32_t sequence, int64_t count);
    // Puts an empty sequence at `position`; the state before it is whatever the memory holds (for measurements).
    void skip_to(int32_t sequence, int64_t position);
    // Goes back to the largest position at or before `position` whose state is known, and returns it. A window that has
    // given pages back, or a recurrence without a snapshot, may not know `position` itself.
    int64_t rewind(int32_t sequence, int64_t position);
    // Lets an empty sequence take over as many of these tokens as others have computed, in whole pages; returns how
    // many.
    int64_t attach_prefix(int32_t sequence, std::span<const int32_t> tokens);
    bool has_recurrences() const { return recurrences_ >= 0; }
    // Keeps the state of recurrences at length(), so that the sequence can go back there, and others can attach if it
    // is a multiple of 64. If all slots are taken, the sequence's oldest snapshot gives way, else that of another.
    // Returns false if there is none. Without recurrences there is nothing to do.
    Result<bool> snapshot(int32_t sequence);
    // Gives up the state that recurrences have now, because a pass that failed has changed it. The sequence goes back
    // to the largest position at or before length() whose state is known; returns it. Without recurrences: length().
    int64_t lose_state(int32_t sequence);

    // The pages that hold the layer's keys and values: page p has positions [64 p, 64 p + 64). kNoUnit if a window has
    // given the page back.
    std::span<const int32_t> pages_of(int32_t sequence, int layer) const { return table(sequence, group_of(layer)); }
    std::span<const int32_t> table(int32_t sequence, int group) const {
        return of(sequence).tables[static_cast<size_t>(group)];
    }
    // Host memory. For a device's layer it is a copy that holds what Ops::to_host() brought, for observers.
    std::byte* keys(int layer, int32_t page, int head) const;    // [key_width][64]
    std::byte* values(int layer, int32_t page, int head) const;  // [64][value_width]
    // The state of a recurrence, followed by its columns, of a reserved sequence. Zeros at position 0.
    std::span<float> recurrence(int32_t sequence, int layer) const;
    // Bytes of a layer in a unit of its group, from LayerPlace::keys on.
    int64_t layer_bytes(int layer) const;

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
        std::vector<std::vector<int32_t>> tables;  // by group; for a recurrence: the slot of its state, or nothing
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
    void give_up_snapshot(Sequence* preferred = nullptr);
    void name_pages(Sequence& sequence);
    int32_t known_page(const Sequence& sequence, int group, int64_t page) const;
    Snapshot known_state(const Sequence& sequence, int64_t position) const;
    int64_t last_known(const Sequence& sequence, int64_t position) const;
    void settle(Sequence& sequence, int64_t position);
    void release_tail(Sequence& sequence, int group, int64_t pages);

    StateGeometry geometry_;
    StateMemory memory_;
    int recurrences_ = -1;         // the group of recurrences, or -1
    bool sees_both_ways_ = false;  // a layer does
    int64_t most_sequences_ = 0, in_use_ = 0;
    std::unique_ptr<PrefixTree> tree_;
    std::vector<UnitPool> pools_;  // by group
    std::vector<Sequence> sequences_;
};

}  // namespace invar
