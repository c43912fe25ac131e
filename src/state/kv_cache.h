// The paged KV cache: what is stored for each position, and which pages a sequence owns.
// A page holds 64 positions (one attention chunk, docs/arithmetic.md section 5) of every layer. Geometry is per layer.
// It does not decide when sequences start or end (generate/), nor how attention reads it (cpu/).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "arithmetic/attention.h"
#include "base/place.h"
#include "base/result.h"

namespace invar {

std::string_view cache_type_name(CacheType type);
int cache_type_bytes(CacheType type);

inline constexpr int kPagePositions = static_cast<int>(kAttentionChunk);

struct KvGeometry {  // of one layer
    int kv_heads = 0;
    int key_width = 0;    // elements of a key of one head
    int value_width = 0;  // elements of a value of one head
    int window = 0;       // positions a query sees, itself included; 0: all before it
};

// Keys of a page and head are stored [key_width][64] (a vector of 64 keys for each element, so that keys are lanes);
// values [64][value_width].
class KvCache {
  public:
    // Bytes of one page over all layers: the figure the weight plan charges.
    static int64_t page_bytes(std::span<const KvGeometry> layers, CacheType type);
    static int64_t pages_for(int64_t positions) { return (positions + kPagePositions - 1) / kPagePositions; }

    static Result<std::unique_ptr<KvCache>> create(std::vector<KvGeometry> layers, CacheType type, int64_t pages);
    // Which layers are kept in memory of a device: `places` has a place for each layer, or none: all on the host.
    // `memory` has pages * page_bytes(layers, type, places, Place::device) bytes.
    struct DevicePart {
        std::vector<Place> places;
        std::shared_ptr<std::byte> memory;
    };
    static Result<std::unique_ptr<KvCache>> create(std::vector<KvGeometry> layers, CacheType type, int64_t pages,
                                                   DevicePart part);
    static int64_t page_bytes(std::span<const KvGeometry> layers, CacheType type, std::span<const Place> places,
                              Place place);
    // Geometry without memory, for planning passes.
    static std::unique_ptr<KvCache> without_memory(std::vector<KvGeometry> layers, CacheType type,
                                                   std::vector<Place> places = {});

    CacheType type() const { return type_; }
    std::span<const KvGeometry> layers() const { return layers_; }
    Place place(int layer) const { return places_[static_cast<size_t>(layer)].place; }
    int64_t bytes() const { return pools_[0].bytes + pools_[1].bytes; }
    // All pages on the host.
    std::span<std::byte> memory() const { return {pools_[0].memory.get(), static_cast<size_t>(pools_[0].bytes)}; }
    int64_t free_pages() const { return static_cast<int64_t>(free_.size()); }
    int64_t total_pages() const { return pages_; }

    // A new empty sequence; its slot number.
    int32_t add_sequence();
    void remove_sequence(int32_t sequence);
    // Makes room for positions [0, count). Fails, changing nothing, when too few pages are free.
    Result<void> reserve(int32_t sequence, int64_t count);
    // Forgets positions >= count (their pages are given back).
    void truncate(int32_t sequence, int64_t count);
    std::span<const int32_t> pages_of(int32_t sequence) const {
        return sequences_[static_cast<size_t>(sequence)].pages;
    }

    // On the host. Those of a device's layer are a copy that holds what Ops::to_host() brought, for observers.
    std::byte* keys(int layer, int32_t page, int head) const;    // [key_width][64]
    std::byte* values(int layer, int32_t page, int head) const;  // [64][value_width]

    // Where a layer lies in the memory of its place: bytes from the start of a page.
    struct LayerPlace {
        Place place = Place::host;
        int64_t keys = 0, values = 0;
        int64_t key_head = 0, value_head = 0;                                             // bytes of one head
        int64_t bytes(int kv_heads) const { return (key_head + value_head) * kv_heads; }  // from `keys` on
    };
    const LayerPlace& layer_place(int layer) const { return places_[static_cast<size_t>(layer)]; }
    // Of the pages of a place: page p starts at memory + p * page_bytes.
    struct Pool {
        std::shared_ptr<std::byte> memory;  // of Place::device the host must not read
        std::shared_ptr<std::byte> copy;    // of Place::device: as large, untouched pages take no memory
        int64_t page_bytes = 0, bytes = 0;
    };
    const Pool& pool(Place place) const { return pools_[static_cast<size_t>(place)]; }

  private:
    struct Sequence {
        bool used = false;
        std::vector<int32_t> pages;
    };

    KvCache() = default;
    void lay_out(std::vector<KvGeometry> layers, CacheType type, const std::vector<Place>& places);
    std::byte* host_page(const LayerPlace& layer, int32_t page) const;

    std::vector<KvGeometry> layers_;
    std::vector<LayerPlace> places_;
    CacheType type_ = CacheType::f16;
    int64_t pages_ = 0;
    Pool pools_[2];  // by Place
    std::vector<int32_t> free_;
    std::vector<Sequence> sequences_;
};

}  // namespace invar
