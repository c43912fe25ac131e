// Attention of a few queries over one page of the KV cache, as a table with one row per instruction set. Each row
// equals law::compute_chunk and law::merge (arithmetic/attention.h) bit for bit. cpu_ops_attention.cpp decides which
// queries share a page and how pages are split over threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "cpu/cached_float.h"
#include "machine/isa.h"

namespace invar {

inline constexpr int kChunkLanes = 64;  // positions of a page

// Positions of the page that a query sees: [first, last), not empty.
struct VisibleLanes {
    int32_t first = 0, last = kChunkLanes;
};

struct ChunkTask {
    const std::byte* keys = nullptr;         // [key_width][64], 64-byte aligned
    const std::byte* values = nullptr;       // [64][value_width], 64-byte aligned; not with values_in_keys
    const std::byte* next_keys = nullptr;    // of the page after this one, to be fetched early; nullptr: none
    const std::byte* next_values = nullptr;  // the same
    CachedFloat type = CachedFloat::f16;
    int key_width = 0, value_width = 0;
    bool values_in_keys = false;   // a value is the first value_width elements of its key
    float* turned = nullptr;       // with values_in_keys: 64 * value_width of scratch, 64-byte aligned
    float scale = 0, softcap = 0;  // score = dot * scale; softcap 0: none
    int queries = 0;
    const float* const* query = nullptr;    // [queries] -> [key_width]
    const VisibleLanes* visible = nullptr;  // [queries]
    float* m = nullptr;                     // [queries], the largest score
    float* l = nullptr;                     // [queries], sum of exp(score - m)
    float* o = nullptr;                     // [queries][value_width], sum of exp(score - m) * value
    float* scores = nullptr;                // [queries][64] of scratch, 64-byte aligned
};

struct MergeTask {
    int64_t queries = 0, value_width = 0;
    float* m = nullptr;  // [queries]
    float* l = nullptr;  // [queries]
    float* o = nullptr;  // [queries][value_width]
    const float* next_m = nullptr;
    const float* next_l = nullptr;
    const float* next_o = nullptr;
};

struct AttentionKernels {
    std::string_view name;
    Isa isa = Isa::scalar;

    void (*chunk)(const ChunkTask& task) = nullptr;
    // Merges the next chunk into the (m, l, o) of each query.
    void (*merge)(const MergeTask& task) = nullptr;
    // out[i] = o[i] / l; out may be o.
    void (*finish)(float l, const float* o, int64_t width, float* out) = nullptr;
};

// The rows in order of preference; the last one is scalar.
std::span<const AttentionKernels* const> attention_kernels();
const AttentionKernels& choose_attention_kernels(Isa highest);

extern const AttentionKernels kAttentionKernelsScalar;  // attention_kernels.cpp
extern const AttentionKernels kAttentionKernelsAvx2;
extern const AttentionKernels kAttentionKernelsAvx512;

}  // namespace invar
