// The paged KV cache in host memory: what is stored for each position, and which pages a sequence owns.
// A page holds 64 positions (one attention chunk, docs/arithmetic.md section 4) of every layer. Geometry is per layer.
// It does not decide when sequences start or end (generate/), nor how attention reads it (cpu/).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "arithmetic/attention.h"
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
    // Over memory of a device: `memory` has pages * page_bytes() bytes; the host never reads it.
    static std::unique_ptr<KvCache> over(std::vector<KvGeometry> layers, CacheType type, int64_t pages,
                                         std::shared_ptr<std::byte> memory);
    // Geometry without memory, for planning passes.
    static std::unique_ptr<KvCache> without_memory(std::vector<KvGeometry> layers, CacheType type);

    CacheType type() const { return type_; }
    std::span<const KvGeometry> layers() const { return layers_; }
    int64_t bytes() const { return static_cast<int64_t>(memory_bytes_); }
    std::span<std::byte> memory() const { return {memory_.get(), memory_bytes_}; }  // all pages
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

    std::byte* keys(int layer, int32_t page, int head) const;    // [key_width][64]
    std::byte* values(int layer, int32_t page, int head) const;  // [64][value_width]

  private:
    struct Sequence {
        bool used = false;
        std::vector<int32_t> pages;
    };
    struct LayerPlace {
        int64_t keys = 0, values = 0;          // bytes from the start of the page
        int64_t key_head = 0, value_head = 0;  // bytes of one head
    };

    KvCache() = default;
    void take_memory(std::shared_ptr<std::byte> memory, int64_t pages);
    void lay_out(std::vector<KvGeometry> layers, CacheType type);

    std::vector<KvGeometry> layers_;
    std::vector<LayerPlace> places_;
    CacheType type_ = CacheType::f16;
    int64_t page_bytes_ = 0, pages_ = 0;
    size_t memory_bytes_ = 0;
    std::shared_ptr<std::byte> memory_;
    std::vector<int32_t> free_;
    std::vector<Sequence> sequences_;
};

}  // namespace invar
