// What one sequence keeps for each layer of a model, and how layers with the same needs form groups: full attention
// (pages of 64 positions), attention in a window or in blocks (the same pages, given back behind it), and recurrences
// (one state of fixed size). This defines the sizes of pages and states and where a layer lies in them. The plan
// decides how many there are; sequence_state.h gives them to sequences.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "arithmetic/attention.h"
#include "base/place.h"
#include "base/result.h"

namespace invar {

std::string_view cache_type_name(CacheType type);
int cache_type_bytes(CacheType type);

// A page holds this many positions of all layers of a group: one attention chunk (docs/arithmetic.md, section 5).
inline constexpr int kPagePositions = static_cast<int>(kAttentionChunk);
constexpr int64_t pages_for(int64_t positions) {
    return positions / kPagePositions + (positions % kPagePositions != 0);
}

struct KvGeometry {  // of one layer
    int kv_heads = 0;
    int key_width = 0;    // elements of a key of one head
    int value_width = 0;  // elements of a value of one head
    Reach reach = Reach::causal;
    int window = 0;  // limits the reach (arithmetic/attention.h); 0: no limit
    // A value is the first value_width elements of its key and is not stored apart (latent attention).
    bool values_in_keys = false;
};

// The values that a recurrence of one layer carries from token to token, in binary32. 0 and 0: the layer has none.
struct RecurrenceGeometry {
    int64_t state_elements = 0;
    int64_t column_elements = 0;  // the last inputs of its convolution
    int64_t bytes() const { return (state_elements + column_elements) * 4; }
};

struct StateGeometry {
    std::vector<KvGeometry> layers;
    std::vector<RecurrenceGeometry> recurrences;  // empty, or one for each layer
    CacheType type = CacheType::f16;
    std::vector<Place> places;  // empty: every layer is on the host
};

enum class GroupKind : uint8_t { attention, window, recurrence };

// Layers that share page numbers (attention, window) or slot numbers (recurrence). A unit is a page or a slot. Layers
// that see both ways need every page of the pass and are in the group of full attention, whatever their window.
struct StateGroup {
    GroupKind kind = GroupKind::attention;
    Reach reach = Reach::causal;  // of GroupKind::window: causal or in_blocks
    int window = 0;               // of GroupKind::window
    std::vector<int> layers;
    int64_t unit_bytes[2] = {0, 0};  // by Place; the largest int64_t if the sum overflows

    int64_t bytes(Place place) const { return unit_bytes[static_cast<size_t>(place)]; }
    int64_t bytes() const;
};

// Where a layer lies in a unit of its group: bytes from the start of the unit.
struct LayerPlace {
    Place place = Place::host;
    int group = 0;
    int64_t keys = 0, values = 0;                                                     // a recurrence is at `keys`
    int64_t key_head = 0, value_head = 0;                                             // bytes of one head
    int64_t bytes(int kv_heads) const { return (key_head + value_head) * kv_heads; }  // from `keys` on
};

// At least one group. Groups are in the order of their first layers.
struct StateLayout {
    std::vector<StateGroup> groups;
    std::vector<LayerPlace> layers;
};
// Errors: a negative size, a value that is longer than the key it lies in.
Result<StateLayout> lay_out_state(const StateGeometry& geometry);

// The demand of sequences.
struct StateDemand {
    int64_t context = 0;  // positions of a sequence, at most
    int64_t chunk = 0;    // rows of a sequence in one pass, at most
    int64_t sequences = 1;
    int64_t positions = 0;  // of all sequences together; 0: each may fill its context
    int64_t snapshots = 0;  // of recurrences, beside the state of each sequence
};
// How many units of a group meet the demand. For a window they do not grow with the context.
int64_t units_for(const StateGroup& group, const StateDemand& demand);
// Bytes of the given units of each group at a place. Groups start at multiples of 4096 bytes.
int64_t state_bytes(std::span<const StateGroup> groups, std::span<const int64_t> units, Place place);

}  // namespace invar
