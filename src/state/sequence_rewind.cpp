// Rewinding a sequence, attaching to what others have computed, and snapshots of recurrences. Growing:
// sequence_state.cpp.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "state/sequence_state.h"

namespace invar {

// Finds the unit with a page's content: the sequence's own, or one that is known by its tokens.
int32_t SequenceState::known_page(const Sequence& sequence, int group, int64_t page) const {
    const std::vector<int32_t>& table = sequence.tables[static_cast<size_t>(group)];
    if (page < std::ssize(table) && table[static_cast<size_t>(page)] != kNoUnit)
        return table[static_cast<size_t>(page)];
    const int64_t node = page + 1;  // the root comes first
    return node < std::ssize(sequence.chain) ? tree_->unit(sequence.chain[static_cast<size_t>(node)], group) : kNoUnit;
}

// The last snapshot of recurrences at or before a position; position 0 without a slot if there is none.
SequenceState::Snapshot SequenceState::known_state(const Sequence& sequence, int64_t position) const {
    Snapshot best{.position = 0, .slot = kNoUnit};
    for (const Snapshot& snapshot : sequence.snapshots)
        if (snapshot.position <= position && snapshot.position > best.position) best = snapshot;
    int64_t node = std::min(position / kPagePositions, std::ssize(sequence.chain) - 1);
    for (; node * kPagePositions > best.position; --node) {
        const int32_t slot = tree_->unit(sequence.chain[static_cast<size_t>(node)], recurrences_);
        if (slot != kNoUnit) return {.position = node * kPagePositions, .slot = slot};
    }
    return best;
}

// The largest position at or before `position` that every group knows.
int64_t SequenceState::last_known(const Sequence& sequence, int64_t position) const {
    if (sees_both_ways_ && position != sequence.length) return 0;
    int64_t before = -1;
    while (position != before) {
        before = position;
        for (int group = 0; group < static_cast<int>(pools_.size()); ++group) {
            if (group == recurrences_) {
                position = known_state(sequence, position).position;
                continue;
            }
            for (int64_t page = first_page(group, position); page < pages_for(position); ++page)
                if (known_page(sequence, group, page) == kNoUnit) position = page * kPagePositions;
        }
    }
    return position;
}

// Gives back the pages from `pages` on. The last goes first, because it is the least useful one to others.
void SequenceState::release_tail(Sequence& sequence, int group, int64_t pages) {
    std::vector<int32_t>& table = sequence.tables[static_cast<size_t>(group)];
    while (std::ssize(table) > pages) {
        if (table.back() != kNoUnit) pool_of(group).release(table.back());
        table.pop_back();
    }
}

// Makes the sequence hold exactly what `position` positions need; all of that must be known.
void SequenceState::settle(Sequence& sequence, int64_t position) {
    for (int group = 0; group < static_cast<int>(pools_.size()); ++group) {
        std::vector<int32_t>& table = sequence.tables[static_cast<size_t>(group)];
        UnitPool& pool = pool_of(group);
        if (group == recurrences_) {
            const int32_t slot = known_state(sequence, position).slot;
            if (slot != kNoUnit) pool.share(slot);
            if (!table.empty()) pool.release(table.front());
            table.assign(slot != kNoUnit ? 1 : 0, slot);
            continue;
        }
        // This is done before anything is given back, because taking units may evict what was given back.
        if (std::ssize(table) < pages_for(position)) table.resize(static_cast<size_t>(pages_for(position)), kNoUnit);
        for (int64_t page = first_page(group, position); page < pages_for(position); ++page) {
            int32_t& unit = table[static_cast<size_t>(page)];
            if (unit == kNoUnit) pool.share(unit = known_page(sequence, group, page));
        }
        release_tail(sequence, group, pages_for(position));
    }
    while (!sequence.snapshots.empty() && sequence.snapshots.back().position > position) {
        pool_of(recurrences_).release(sequence.snapshots.back().slot);
        sequence.snapshots.pop_back();
    }
    sequence.length = position;
    if (std::ssize(sequence.tokens) > position) sequence.tokens.resize(static_cast<size_t>(position));
    const auto nodes = static_cast<size_t>(std::ssize(sequence.tokens) / kPagePositions + 1);
    if (nodes < sequence.chain.size()) {
        const int32_t last = sequence.chain.back();
        sequence.chain.resize(nodes);
        tree_->hold(sequence.chain.back());
        tree_->drop(last);
    }
}

int64_t SequenceState::rewind(int32_t sequence, int64_t position) {
    CHECK(position >= 0, "a sequence has no negative length");
    Sequence& cut = of(sequence);
    if (position < cut.length) settle(cut, last_known(cut, position));
    // Pages that were reserved beyond the last position are not kept.
    for (int group = 0; group < static_cast<int>(pools_.size()); ++group)
        if (group != recurrences_) release_tail(cut, group, pages_for(cut.length));
    return cut.length;
}

int64_t SequenceState::lose_state(int32_t sequence) {
    Sequence& spoilt = of(sequence);
    if (recurrences_ >= 0) settle(spoilt, last_known(spoilt, spoilt.length));
    return spoilt.length;
}

int64_t SequenceState::attach_prefix(int32_t sequence, std::span<const int32_t> tokens) {
    Sequence& attached = of(sequence);
    CHECK(attached.length == 0, "only an empty sequence attaches");
    for (int group = 0; group < static_cast<int>(pools_.size()); ++group) release_tail(attached, group, 0);
    const int32_t root = attached.chain.front();
    for (size_t at = 0; at + kPagePositions <= tokens.size(); at += kPagePositions) {
        const int32_t child = tree_->find_child(attached.chain.back(), tokens.subspan(at, kPagePositions));
        if (child == kNoUnit) break;
        attached.chain.push_back(child);
    }
    tree_->hold(attached.chain.back());
    tree_->drop(root);
    const int64_t found = (std::ssize(attached.chain) - 1) * kPagePositions;
    attached.tokens.assign(tokens.begin(), tokens.begin() + found);
    settle(attached, last_known(attached, found));
    return attached.length;
}

// ---- snapshots

Result<bool> SequenceState::snapshot(int32_t sequence) {
    Sequence& kept = of(sequence);
    if (recurrences_ < 0 || kept.length == 0) return true;
    UnitPool& pool = pool_of(recurrences_);
    const std::vector<int32_t>& table = kept.tables[static_cast<size_t>(recurrences_)];
    CHECK(!table.empty(), "a sequence that has computed has a state");
    if (known_state(kept, kept.length).position == kept.length) return true;
    if (pool.available() == 0) give_up_snapshot(&kept);
    if (pool.available() == 0) return false;
    int32_t slot = table.front();
    pool.share(slot);  // take_copy() gives one hold of it back
    Result<void> copied = take_copy(recurrences_, slot);
    if (!copied) pool.release(slot);
    TRY(std::move(copied));
    const bool named = std::ssize(kept.tokens) == kept.length && kept.length % kPagePositions == 0;
    if (!named) {
        kept.snapshots.push_back({.position = kept.length, .slot = slot});
        return true;
    }
    tree_->set_unit(kept.chain.back(), recurrences_, slot);
    pool.set_node(slot, kept.chain.back());
    pool.release(slot);  // it is cached from now on
    return true;
}

// Counts the snapshots that only one sequence has. They can be given up: a sequence that must compute is worth more.
int64_t SequenceState::spare_snapshots() const {
    int64_t spare = 0;
    for (const Sequence& sequence : sequences_)
        for (const Snapshot& snapshot : sequence.snapshots)
            spare += pools_[static_cast<size_t>(recurrences_)].holders(snapshot.slot) == 1 ? 1 : 0;
    return spare;
}

// The oldest of the preferred sequence, or else of the first that has one.
void SequenceState::give_up_snapshot(Sequence* preferred) {
    UnitPool& pool = pool_of(recurrences_);
    const auto give_up = [&](Sequence& sequence) {
        const auto spare =
            std::ranges::find_if(sequence.snapshots, [&](const Snapshot& s) { return pool.holders(s.slot) == 1; });
        if (spare == sequence.snapshots.end()) return false;
        pool.release(spare->slot);
        sequence.snapshots.erase(spare);
        return true;
    };
    if (preferred != nullptr && give_up(*preferred)) return;
    for (Sequence& sequence : sequences_)
        if (give_up(sequence)) return;
}

}  // namespace invar
