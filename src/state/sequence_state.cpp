// Sequences: adding, growing, sharing, and page accounting. Rewinding and attaching: sequence_rewind.cpp.
#include "state/sequence_state.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/hash.h"

namespace invar {

SequenceState::SequenceState(StateGeometry geometry, StateMemory memory, Settings settings)
    : geometry_(std::move(geometry)), memory_(std::move(memory)), most_sequences_(settings.sequences) {
    const std::span<const StateGroup> groups = memory_.layout().groups;
    const auto count = static_cast<int>(groups.size());
    tree_ = std::make_unique<PrefixTree>(count, std::move(settings.digest),
                                         settings.key_of ? std::move(settings.key_of) : PrefixTree::KeyOf(hash_of));
    for (int group = 0; group < count; ++group) {
        pools_.emplace_back(memory_.units(group),
                            [tree = tree_.get(), group](int32_t node) { tree->set_unit(node, group, kNoUnit); });
        if (groups[static_cast<size_t>(group)].kind == GroupKind::recurrence) recurrences_ = group;
    }
    sees_both_ways_ =
        std::ranges::any_of(geometry_.layers, [](const KvGeometry& layer) { return layer.reach == Reach::both_ways; });
}

Result<std::unique_ptr<SequenceState>> SequenceState::create(Settings settings) {
    TRY_ASSIGN(StateLayout layout, lay_out_state(settings.geometry));
    CHECK(settings.units.size() == layout.groups.size(), "every group has a number of units");
    CHECK(settings.geometry.places.empty() || settings.geometry.places.size() == settings.geometry.layers.size(),
          "every layer has a place");
    TRY_ASSIGN(StateMemory memory,
               StateMemory::create(std::move(layout), settings.geometry, settings.units, std::move(settings.device)));
    StateGeometry geometry = std::move(settings.geometry);
    return std::unique_ptr<SequenceState>(
        new SequenceState(std::move(geometry), std::move(memory), std::move(settings)));
}

Result<std::unique_ptr<SequenceState>> SequenceState::create(std::vector<KvGeometry> layers, CacheType type,
                                                             int64_t units) {
    StateGeometry geometry{.layers = std::move(layers), .recurrences = {}, .type = type, .places = {}};
    TRY_ASSIGN(const StateLayout layout, lay_out_state(geometry));
    return create({.geometry = std::move(geometry), .units = std::vector(layout.groups.size(), units), .digest = {}});
}

std::unique_ptr<SequenceState> SequenceState::without_memory(StateGeometry geometry) {
    Result<StateLayout> layout = lay_out_state(geometry);
    CHECK(layout.has_value(), "the plan has checked the geometry");
    StateMemory memory = StateMemory::without_memory(std::move(*layout));
    return std::unique_ptr<SequenceState>(
        new SequenceState(std::move(geometry), std::move(memory), {.geometry = {}, .units = {}, .digest = {}}));
}

std::byte* SequenceState::keys(int layer, int32_t page, int head) const {
    const LayerPlace& place = layer_place(layer);
    return memory_.unit_of(layer, page) + place.keys + head * place.key_head;
}

std::byte* SequenceState::values(int layer, int32_t page, int head) const {
    const LayerPlace& place = layer_place(layer);
    const int64_t head_bytes =
        geometry_.layers[static_cast<size_t>(layer)].values_in_keys ? place.key_head : place.value_head;
    return memory_.unit_of(layer, page) + place.values + head * head_bytes;
}

std::span<float> SequenceState::recurrence(int32_t sequence, int layer) const {
    CHECK(recurrences_ >= 0 && group_of(layer) == recurrences_ && !table(sequence, recurrences_).empty(),
          "the layer has a recurrence, and room was reserved");
    std::byte* start = memory_.unit_of(layer, table(sequence, recurrences_).front()) + layer_place(layer).keys;
    const RecurrenceGeometry& geometry = geometry_.recurrences[static_cast<size_t>(layer)];
    return {reinterpret_cast<float*>(start), static_cast<size_t>(geometry.bytes() / 4)};
}

int64_t SequenceState::layer_bytes(int layer) const {
    if (group_of(layer) == recurrences_) return geometry_.recurrences[static_cast<size_t>(layer)].bytes();
    return layer_place(layer).bytes(geometry_.layers[static_cast<size_t>(layer)].kv_heads);
}

const SequenceState::Sequence& SequenceState::of(int32_t sequence) const {
    CHECK(sequence >= 0 && static_cast<size_t>(sequence) < sequences_.size() &&
              sequences_[static_cast<size_t>(sequence)].used,
          "only a sequence that was added is used");
    return sequences_[static_cast<size_t>(sequence)];
}
SequenceState::Sequence& SequenceState::of(int32_t sequence) {
    return const_cast<Sequence&>(std::as_const(*this).of(sequence));
}

// ---- adding and removing sequences

int32_t SequenceState::add_sequence(std::string_view salt) {
    CHECK(has_room(), "a sequence is added only where there is room");
    auto unused = std::find_if(sequences_.begin(), sequences_.end(), [](const Sequence& s) { return !s.used; });
    if (unused == sequences_.end()) unused = sequences_.emplace(unused);
    *unused = Sequence();
    unused->used = true;
    unused->chain = {tree_->hold_root(salt)};
    unused->tables.resize(pools_.size());
    ++in_use_;
    return static_cast<int32_t>(unused - sequences_.begin());
}

void SequenceState::remove_sequence(int32_t sequence) {
    Sequence& gone = of(sequence);
    settle(gone, 0);
    tree_->drop(gone.chain.back());
    gone = Sequence();
    --in_use_;
}

int32_t SequenceState::fork(int32_t sequence) {
    const int32_t added = add_sequence();
    const Sequence& from = of(sequence);
    Sequence& to = of(added);
    tree_->hold(from.chain.back());
    tree_->drop(to.chain.back());
    to.chain = from.chain;
    to.length = from.length;
    to.tokens = from.tokens;
    to.snapshots = from.snapshots;
    for (const Snapshot& snapshot : to.snapshots) pool_of(recurrences_).share(snapshot.slot);
    for (size_t g = 0; g < pools_.size(); ++g) {
        to.tables[g] = from.tables[g];
        const bool is_slot = static_cast<int>(g) == recurrences_;
        // Pages reserved beyond the last position stay with the other sequence.
        if (!is_slot && std::ssize(to.tables[g]) > pages_for(to.length))
            to.tables[g].resize(static_cast<size_t>(pages_for(to.length)));
        for (const int32_t unit : to.tables[g])
            if (unit != kNoUnit) pools_[g].share(unit);
    }
    return added;
}

// ---- growing

// The first page that a row at `position` sees.
int64_t SequenceState::first_page(int group, int64_t position) const {
    const StateGroup& of_group = groups()[static_cast<size_t>(group)];
    if (of_group.kind != GroupKind::window) return 0;
    return law::visible_positions(of_group.reach, of_group.window, position, position + 1).first / kPagePositions;
}

SequenceState::Need SequenceState::need(const Sequence& sequence, int group, int64_t count) const {
    const std::vector<int32_t>& table = sequence.tables[static_cast<size_t>(group)];
    const UnitPool& pool = pools_[static_cast<size_t>(group)];
    if (group == recurrences_) return {.units = table.empty() || pool.holders(table.front()) > 1 ? 1 : 0};
    Need need{.first = first_page(group, sequence.length), .last = pages_for(count)};
    const auto unit_at = [&](int64_t page) {
        return page < std::ssize(table) ? table[static_cast<size_t>(page)] : kNoUnit;
    };
    for (int64_t page = 0; page < std::min<int64_t>(need.first, std::ssize(table)); ++page)
        need.given_back += unit_at(page) != kNoUnit && pool.holders(unit_at(page)) == 1 ? 1 : 0;
    // Pages that no table has yet are not visited one by one, because a count may be absurd.
    need.units = std::max<int64_t>(0, need.last - std::max<int64_t>(need.first, std::ssize(table)));
    for (int64_t page = need.first; page < std::min<int64_t>(need.last, std::ssize(table)); ++page)
        need.units += unit_at(page) == kNoUnit ? 1 : 0;
    const int32_t written = unit_at(sequence.length / kPagePositions);
    if (written != kNoUnit && pool.holders(written) > 1) ++need.units;
    return need;
}

tl::unexpected<Error> SequenceState::refuse(int32_t sequence, int group, const Need& need, int64_t count) const {
    const UnitPool& pool = pools_[static_cast<size_t>(group)];
    if (group == recurrences_) {
        return fail(ErrorKind::busy,
                    "sequence {} needs a state for its recurrences, but all {} are taken; end another sequence",
                    sequence, pool.size());
    }
    return fail(ErrorKind::busy,
                "sequence {} needs {} more pages of {} positions to reach {} but {} of {} are free; end another "
                "sequence or use a longer context",
                sequence, need.units, kPagePositions, count, pool.available() + need.given_back, pool.size());
}

Result<void> SequenceState::reserve(int32_t sequence, int64_t count) {
    CHECK(count >= 0, "a sequence has no negative length");
    Sequence& grown = of(sequence);
    if (count <= grown.length) return {};
    const auto groups = static_cast<int>(pools_.size());
    for (int group = 0; group < groups; ++group) {
        const Need lacking = need(grown, group, count);
        const int64_t spare = group == recurrences_ ? spare_snapshots() : lacking.given_back;
        if (lacking.units > pool_of(group).available() + spare) return refuse(sequence, group, lacking, count);
    }
    for (int group = 0; group < groups; ++group) {
        if (group == recurrences_) {
            TRY(make_slot_writable(grown, group));
            continue;
        }
        const Need lacking = need(grown, group, count);
        std::vector<int32_t>& table = grown.tables[static_cast<size_t>(group)];
        // The last goes first: the first page is the most useful one to others and is kept longest.
        for (int64_t page = std::min<int64_t>(lacking.first, std::ssize(table)) - 1; page >= 0; --page) {
            int32_t& unit = table[static_cast<size_t>(page)];
            if (unit == kNoUnit) break;
            pool_of(group).release(std::exchange(unit, kNoUnit));
        }
        TRY(make_writable(grown, group));
        if (std::ssize(table) < lacking.last) table.resize(static_cast<size_t>(lacking.last), kNoUnit);
        for (int64_t page = lacking.first; page < lacking.last; ++page)
            if (table[static_cast<size_t>(page)] == kNoUnit) table[static_cast<size_t>(page)] = pool_of(group).take();
    }
    return {};
}

// Makes the page of the next position writable, if the sequence has one.
Result<void> SequenceState::make_writable(Sequence& sequence, int group) {
    std::vector<int32_t>& table = sequence.tables[static_cast<size_t>(group)];
    const int64_t page = sequence.length / kPagePositions;
    if (page >= std::ssize(table) || table[static_cast<size_t>(page)] == kNoUnit) return {};
    int32_t& unit = table[static_cast<size_t>(page)];
    if (pool_of(group).holders(unit) > 1) return take_copy(group, unit);
    drop_name(group, unit);
    return {};
}

Result<void> SequenceState::make_slot_writable(Sequence& sequence, int group) {
    std::vector<int32_t>& table = sequence.tables[static_cast<size_t>(group)];
    UnitPool& pool = pool_of(group);
    const bool shared = !table.empty() && pool.holders(table.front()) > 1;
    if ((table.empty() || shared) && pool.available() == 0) give_up_snapshot();
    if (table.empty()) {
        const int32_t slot = pool.take();
        Result<void> cleared = memory_.clear_unit(group, slot);
        if (!cleared) pool.release(slot);
        TRY(std::move(cleared));
        table.push_back(slot);
        return {};
    }
    if (pool.holders(table.front()) > 1) return take_copy(group, table.front());
    // A state that others may attach to is left unchanged as long as another slot is available.
    if (pool.node(table.front()) != kNoUnit && pool.available() > 0) return take_copy(group, table.front());
    drop_name(group, table.front());
    return {};
}

Result<void> SequenceState::take_copy(int group, int32_t& unit) {
    UnitPool& pool = pool_of(group);
    const int32_t copy = pool.take();
    Result<void> copied = memory_.copy_unit(group, unit, copy);
    if (!copied) pool.release(copy);
    TRY(std::move(copied));
    pool.release(std::exchange(unit, copy));
    return {};
}

// Removes a unit's name, because its content is about to change.
void SequenceState::drop_name(int group, int32_t unit) {
    const int32_t node = pool_of(group).node(unit);
    if (node == kNoUnit) return;
    pool_of(group).set_node(unit, kNoUnit);
    tree_->set_unit(node, group, kNoUnit);
}

void SequenceState::advance(int32_t sequence, std::span<const int32_t> tokens) {
    Sequence& grown = of(sequence);
    const bool named = std::ssize(grown.tokens) == grown.length;
    advance(sequence, std::ssize(tokens));
    if (!named) return;
    grown.tokens.insert(grown.tokens.end(), tokens.begin(), tokens.end());
    if (!sees_both_ways_) name_pages(grown);
}

void SequenceState::advance(int32_t sequence, int64_t count) {
    Sequence& grown = of(sequence);
    grown.length += count;
    for (size_t g = 0; g < pools_.size(); ++g) {
        CHECK(static_cast<int>(g) == recurrences_ ? !grown.tables[g].empty() || count == 0
                                                  : std::ssize(grown.tables[g]) >= pages_for(grown.length),
              "positions are reserved before they are computed");
    }
}

// Gives a node to each page that has become full. If another sequence has computed the same page, that page is taken
// and this one given back: their bits are equal.
void SequenceState::name_pages(Sequence& sequence) {
    while (std::ssize(sequence.chain) * kPagePositions <= sequence.length) {
        const size_t page = sequence.chain.size() - 1;
        const int32_t parent = sequence.chain.back();
        const int32_t node =
            tree_->hold_child(parent, std::span(sequence.tokens).subspan(page * kPagePositions, kPagePositions));
        tree_->drop(parent);
        sequence.chain.push_back(node);
        for (int group = 0; group < static_cast<int>(pools_.size()); ++group) {
            if (group == recurrences_) continue;
            int32_t& unit = sequence.tables[static_cast<size_t>(group)][page];
            const int32_t known = tree_->unit(node, group);
            if (unit == kNoUnit || unit == known) continue;
            if (known == kNoUnit) {
                tree_->set_unit(node, group, unit);
                pool_of(group).set_node(unit, node);
            } else {
                pool_of(group).share(known);
                pool_of(group).release(std::exchange(unit, known));
            }
        }
    }
}

void SequenceState::skip_to(int32_t sequence, int64_t position) {
    Sequence& skipped = of(sequence);
    CHECK(skipped.length == 0, "only an empty sequence skips");
    skipped.length = position;
}

}  // namespace invar
