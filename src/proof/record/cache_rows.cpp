#include "proof/record/cache_rows.h"

#include <cstring>

#include "arithmetic/float_types.h"
#include "base/check.h"

namespace invar {
namespace {

// A row of one head. Element i is at memory + (first + i * step) elements.
struct StoredRow {
    std::byte* memory;
    int64_t first, step, width;
};

int32_t page_of(const SequenceState& cache, const CachePlace& place) {
    const std::span<const int32_t> pages = cache.pages_of(place.sequence, place.layer);
    const int64_t page = place.position / kPagePositions;
    CHECK(page < std::ssize(pages) && pages[static_cast<size_t>(page)] != kNoUnit, "the position is in the cache");
    return pages[static_cast<size_t>(page)];
}

StoredRow key_row(const SequenceState& cache, const CachePlace& place) {
    return {.memory = cache.keys(place.layer, page_of(cache, place), place.head),
            .first = place.position % kPagePositions,
            .step = kPagePositions,
            .width = cache.layers()[static_cast<size_t>(place.layer)].key_width};
}

StoredRow value_row(const SequenceState& cache, const CachePlace& place) {
    const KvGeometry& geometry = cache.layers()[static_cast<size_t>(place.layer)];
    const int64_t width = geometry.value_width;
    if (geometry.values_in_keys) {
        StoredRow key = key_row(cache, place);
        key.width = width;
        return key;
    }
    return {.memory = cache.values(place.layer, page_of(cache, place), place.head),
            .first = place.position % kPagePositions * width,
            .step = 1,
            .width = width};
}

void read(const StoredRow& row, CacheType type, float* out) {
    for (int64_t i = 0; i < row.width; ++i) {
        const int64_t index = row.first + i * row.step;
        if (type == CacheType::f32) {
            std::memcpy(out + i, row.memory + index * 4, 4);
        } else {
            uint16_t half = 0;
            std::memcpy(&half, row.memory + index * 2, 2);
            out[i] = type == CacheType::f16 ? f16_to_f32(half) : bf16_to_f32(half);
        }
    }
}

void write(const StoredRow& row, CacheType type, const float* values) {
    for (int64_t i = 0; i < row.width; ++i) {
        const int64_t index = row.first + i * row.step;
        if (type == CacheType::f32) {
            std::memcpy(row.memory + index * 4, values + i, 4);
        } else {
            const uint16_t half = type == CacheType::f16 ? f32_to_f16(values[i]) : f32_to_bf16(values[i]);
            std::memcpy(row.memory + index * 2, &half, 2);
        }
    }
}

}  // namespace

float rounded_to(CacheType type, float value) {
    switch (type) {
        case CacheType::f16:
            return f16_to_f32(f32_to_f16(value));
        case CacheType::bf16:
            return bf16_to_f32(f32_to_bf16(value));
        case CacheType::f32:
            return value;
    }
    return value;
}

void read_key(const SequenceState& cache, const CachePlace& place, float* out) {
    read(key_row(cache, place), cache.type(), out);
}

void read_value(const SequenceState& cache, const CachePlace& place, float* out) {
    read(value_row(cache, place), cache.type(), out);
}

void write_key(SequenceState& cache, const CachePlace& place, const float* key) {
    write(key_row(cache, place), cache.type(), key);
}

void write_value(SequenceState& cache, const CachePlace& place, const float* value) {
    write(value_row(cache, place), cache.type(), value);
}

}  // namespace invar
