// Layout, memory and page accounting of the KV cache. What a page holds is in kv_cache.h; the values are written by
// cpu/cpu_ops_attention.cpp. Memory is one anonymous mapping, zero until written, aligned so that the kernel can use
// huge pages.
#include "state/kv_cache.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/huge_pages.h"

namespace invar {
namespace {

constexpr int64_t kTooMany = std::numeric_limits<int64_t>::max();

// a * b and a + b of non-negative numbers, or kTooMany where they do not fit.
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

int64_t KvCache::page_bytes(std::span<const KvGeometry> layers, CacheType type) {
    return page_bytes(layers, type, {}, Place::host);
}

int64_t KvCache::page_bytes(std::span<const KvGeometry> layers, CacheType type, std::span<const Place> places,
                            Place place) {
    int64_t bytes = 0;
    for (size_t i = 0; i < layers.size(); ++i) {
        if ((places.empty() ? Place::host : places[i]) != place) continue;
        const KvGeometry& layer = layers[i];
        const int64_t head = saturating_add(head_bytes(layer.key_width, type), head_bytes(layer.value_width, type));
        bytes = saturating_add(bytes, saturating_multiply(head, layer.kv_heads));
    }
    return bytes;
}

void KvCache::lay_out(std::vector<KvGeometry> layers, CacheType type, const std::vector<Place>& places) {
    CHECK(places.empty() || places.size() == layers.size(), "every layer has a place");
    layers_ = std::move(layers);
    type_ = type;
    places_.reserve(layers_.size());
    int64_t offsets[2] = {0, 0};
    for (size_t i = 0; i < layers_.size(); ++i) {
        const KvGeometry& layer = layers_[i];
        LayerPlace place{.place = places.empty() ? Place::host : places[i]};
        int64_t& offset = offsets[static_cast<size_t>(place.place)];
        place.key_head = head_bytes(layer.key_width, type);
        place.value_head = head_bytes(layer.value_width, type);
        place.keys = offset;
        place.values = saturating_add(place.keys, saturating_multiply(place.key_head, layer.kv_heads));
        offset = saturating_add(place.values, saturating_multiply(place.value_head, layer.kv_heads));
        places_.push_back(place);
    }
    for (const Place place : {Place::host, Place::device})
        pools_[static_cast<size_t>(place)].page_bytes = offsets[static_cast<size_t>(place)];
}

Result<std::unique_ptr<KvCache>> KvCache::create(std::vector<KvGeometry> layers, CacheType type, int64_t pages) {
    return create(std::move(layers), type, pages, {});
}

Result<std::unique_ptr<KvCache>> KvCache::create(std::vector<KvGeometry> layers, CacheType type, int64_t pages,
                                                 DevicePart part) {
    for (size_t i = 0; i < layers.size(); ++i) {
        const KvGeometry& layer = layers[i];
        if (layer.kv_heads < 0 || layer.key_width < 0 || layer.value_width < 0 || layer.window < 0) {
            return fail(
                "the KV cache of layer {} would have {} heads of {} and {} elements and a window of {}; none may be "
                "negative",
                i, layer.kv_heads, layer.key_width, layer.value_width, layer.window);
        }
    }
    if (pages < 0 || pages > std::numeric_limits<int32_t>::max()) {
        return fail(
            "a KV cache of {} pages of {} positions was asked for, but at most {} pages are possible; ask for a "
            "shorter context",
            pages, kPagePositions, std::numeric_limits<int32_t>::max());
    }
    std::unique_ptr<KvCache> cache(new KvCache);
    cache->lay_out(std::move(layers), type, part.places);
    for (const Place place : {Place::host, Place::device}) {
        Pool& pool = cache->pools_[static_cast<size_t>(place)];
        pool.bytes = saturating_multiply(pool.page_bytes, pages);
        if (place == Place::device && pool.bytes == 0) continue;
        std::shared_ptr<std::byte> memory;
        if (pool.bytes != kTooMany) {
            memory = map_huge_pages(static_cast<size_t>(pool.bytes),
                                    place == Place::device ? MemoryPromise::none : MemoryPromise::kept);
        }
        if (memory == nullptr) {
            return fail(
                ErrorKind::out_of_memory,
                "no memory for a KV cache of {} positions ({} pages of {} bytes in {}); ask for a shorter context or a "
                "smaller cache type",
                pages * kPagePositions, pages, pool.page_bytes, cache_type_name(type));
        }
        (place == Place::host ? pool.memory : pool.copy) = std::move(memory);
    }
    if (part.memory) cache->pools_[static_cast<size_t>(Place::device)].memory = std::move(part.memory);
    cache->pages_ = pages;
    cache->free_.resize(static_cast<size_t>(pages));
    // The last is taken first: a fresh cache hands out pages 0, 1, 2, ...
    for (int64_t i = 0; i < pages; ++i) cache->free_[static_cast<size_t>(i)] = static_cast<int32_t>(pages - 1 - i);
    return cache;
}

std::unique_ptr<KvCache> KvCache::without_memory(std::vector<KvGeometry> layers, CacheType type,
                                                 std::vector<Place> places) {
    std::unique_ptr<KvCache> cache(new KvCache);
    cache->lay_out(std::move(layers), type, places);
    return cache;
}

int32_t KvCache::add_sequence() {
    const auto unused = std::find_if(sequences_.begin(), sequences_.end(), [](const Sequence& s) { return !s.used; });
    if (unused != sequences_.end()) {
        unused->used = true;
        return static_cast<int32_t>(unused - sequences_.begin());
    }
    sequences_.push_back({.used = true, .pages = {}});
    return static_cast<int32_t>(sequences_.size() - 1);
}

void KvCache::remove_sequence(int32_t sequence) {
    truncate(sequence, 0);
    sequences_[static_cast<size_t>(sequence)].used = false;
}

Result<void> KvCache::reserve(int32_t sequence, int64_t count) {
    CHECK(sequence >= 0 && static_cast<size_t>(sequence) < sequences_.size() &&
              sequences_[static_cast<size_t>(sequence)].used,
          "only a sequence that was added can grow");
    CHECK(count >= 0, "a sequence has no negative length");
    std::vector<int32_t>& pages = sequences_[static_cast<size_t>(sequence)].pages;
    const int64_t wanted = count / kPagePositions + (count % kPagePositions != 0 ? 1 : 0);
    const int64_t missing = wanted - static_cast<int64_t>(pages.size());
    if (missing > free_pages()) {
        return fail(
            ErrorKind::busy,
            "sequence {} needs {} more pages of {} positions to reach {} but {} of {} are free; end another sequence "
            "or use a longer context",
            sequence, missing, kPagePositions, count, free_pages(), pages_);
    }
    for (int64_t i = 0; i < missing; ++i) {
        pages.push_back(free_.back());
        free_.pop_back();
    }
    return {};
}

void KvCache::truncate(int32_t sequence, int64_t count) {
    CHECK(sequence >= 0 && static_cast<size_t>(sequence) < sequences_.size() &&
              sequences_[static_cast<size_t>(sequence)].used,
          "only a sequence that was added can shrink");
    CHECK(count >= 0, "a sequence has no negative length");
    std::vector<int32_t>& pages = sequences_[static_cast<size_t>(sequence)].pages;
    const size_t kept = static_cast<size_t>(count / kPagePositions + (count % kPagePositions != 0 ? 1 : 0));
    while (pages.size() > kept) {
        free_.push_back(pages.back());
        pages.pop_back();
    }
}

std::byte* KvCache::host_page(const LayerPlace& layer, int32_t page) const {
    const Pool& pool = pools_[static_cast<size_t>(layer.place)];
    return (layer.place == Place::host ? pool.memory : pool.copy).get() + page * pool.page_bytes;
}

std::byte* KvCache::keys(int layer, int32_t page, int head) const {
    const LayerPlace& place = places_[static_cast<size_t>(layer)];
    return host_page(place, page) + place.keys + head * place.key_head;
}

std::byte* KvCache::values(int layer, int32_t page, int head) const {
    const LayerPlace& place = places_[static_cast<size_t>(layer)];
    return host_page(place, page) + place.values + head * place.value_head;
}

}  // namespace invar
