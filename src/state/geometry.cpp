// Computes sizes and offsets with saturating arithmetic, because contexts and counts may be absurd: see geometry.h.
#include "state/geometry.h"

#include <algorithm>
#include <limits>

namespace invar {
namespace {

constexpr int64_t kTooMany = std::numeric_limits<int64_t>::max();
constexpr int64_t kGroupAlignment = 4096;

// a * b and a + b of non-negative numbers, or kTooMany if the result does not fit.
int64_t saturating_multiply(int64_t a, int64_t b) {
    int64_t product = 0;
    return __builtin_mul_overflow(a, b, &product) ? kTooMany : product;
}
int64_t saturating_add(int64_t a, int64_t b) {
    int64_t sum = 0;
    return __builtin_add_overflow(a, b, &sum) ? kTooMany : sum;
}

// Bytes of one head's keys (or values) of a page. kPagePositions * 2 bytes = 128: always a multiple of 64.
int64_t head_bytes(int width, CacheType type) {
    return saturating_multiply(saturating_multiply(width, kPagePositions), cache_type_bytes(type));
}

Result<void> check(const StateGeometry& geometry) {
    for (size_t i = 0; i < geometry.layers.size(); ++i) {
        const KvGeometry& layer = geometry.layers[i];
        if (layer.kv_heads < 0 || layer.key_width < 0 || layer.value_width < 0 || layer.window < 0) {
            return fail(
                "the KV cache of layer {} would have {} heads of {} and {} elements and a window of {}; none may be "
                "negative",
                i, layer.kv_heads, layer.key_width, layer.value_width, layer.window);
        }
        if (layer.values_in_keys && layer.value_width > layer.key_width) {
            return fail("the values of layer {} have {} elements, but the keys that they are part of have {}", i,
                        layer.value_width, layer.key_width);
        }
    }
    for (size_t i = 0; i < geometry.recurrences.size(); ++i) {
        const RecurrenceGeometry& layer = geometry.recurrences[i];
        if (layer.state_elements < 0 || layer.column_elements < 0 || layer.state_elements > kTooMany / 16 ||
            layer.column_elements > kTooMany / 16) {
            return fail("the recurrence of layer {} would have {} and {} elements", i, layer.state_elements,
                        layer.column_elements);
        }
    }
    return {};
}

StateGroup group_of(const StateGeometry& geometry, size_t layer) {
    if (!geometry.recurrences.empty() && geometry.recurrences[layer].bytes() > 0)
        return {.kind = GroupKind::recurrence, .layers = {}};
    const KvGeometry& kept = geometry.layers[layer];
    if (kept.window == 0 || kept.reach == Reach::both_ways) return {.kind = GroupKind::attention, .layers = {}};
    return {.kind = GroupKind::window, .reach = kept.reach, .window = kept.window, .layers = {}};
}

}  // namespace

std::string_view cache_type_name(CacheType type) {
    switch (type) {
        case CacheType::f16:
            return "f16";
        case CacheType::bf16:
            return "bf16";
        case CacheType::f32:
            return "f32";
    }
    return "unknown";
}

int cache_type_bytes(CacheType type) { return type == CacheType::f32 ? 4 : 2; }

int64_t StateGroup::bytes() const { return saturating_add(unit_bytes[0], unit_bytes[1]); }

Result<StateLayout> lay_out_state(const StateGeometry& geometry) {
    TRY(check(geometry));
    StateLayout layout;
    for (size_t i = 0; i < geometry.layers.size(); ++i) {
        const StateGroup wanted = group_of(geometry, i);
        auto group = std::find_if(layout.groups.begin(), layout.groups.end(), [&](const StateGroup& g) {
            return g.kind == wanted.kind && g.reach == wanted.reach && g.window == wanted.window;
        });
        if (group == layout.groups.end()) group = layout.groups.insert(group, wanted);
        group->layers.push_back(static_cast<int>(i));
        const KvGeometry& layer = geometry.layers[i];
        LayerPlace place{.place = geometry.places.empty() ? Place::host : geometry.places[i],
                         .group = static_cast<int>(group - layout.groups.begin())};
        int64_t& end = group->unit_bytes[static_cast<size_t>(place.place)];
        place.keys = end;
        if (group->kind == GroupKind::recurrence) {
            end = saturating_add(end, (geometry.recurrences[i].bytes() + 63) / 64 * 64);
        } else {
            place.key_head = head_bytes(layer.key_width, geometry.type);
            place.value_head = layer.values_in_keys ? 0 : head_bytes(layer.value_width, geometry.type);
            end = saturating_add(end, saturating_multiply(place.key_head, layer.kv_heads));
            place.values = layer.values_in_keys ? place.keys : end;
            end = saturating_add(end, saturating_multiply(place.value_head, layer.kv_heads));
        }
        layout.layers.push_back(place);
    }
    if (layout.groups.empty()) layout.groups.emplace_back();
    return layout;
}

int64_t units_for(const StateGroup& group, const StateDemand& demand) {
    if (group.kind == GroupKind::recurrence) return saturating_add(demand.sequences, demand.snapshots);
    int64_t of_sequence = pages_for(demand.context);
    if (group.kind == GroupKind::window) {
        // The rows of a pass see at most window - 1 positions before the first row. This many consecutive positions lie
        // in at most this many pages, wherever they start.
        const int64_t positions = saturating_add(group.window - 1, std::max<int64_t>(demand.chunk, 1));
        const int64_t most = positions < 2 ? 1 : (positions - 2) / kPagePositions + 2;
        of_sequence = std::min(of_sequence, most);
    }
    const int64_t all = saturating_multiply(of_sequence, demand.sequences);
    return demand.positions == 0 ? all : std::min(all, pages_for(demand.positions));
}

int64_t state_bytes(std::span<const StateGroup> groups, std::span<const int64_t> units, Place place) {
    int64_t bytes = 0;
    for (size_t i = 0; i < groups.size(); ++i) {
        if (groups[i].bytes(place) == 0) continue;
        const int64_t start = saturating_add(bytes, (kGroupAlignment - bytes % kGroupAlignment) % kGroupAlignment);
        bytes = saturating_add(start, saturating_multiply(groups[i].bytes(place), units[i]));
    }
    return bytes;
}

}  // namespace invar
