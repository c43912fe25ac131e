// The scalar row of the table: docs/arithmetic.md, section 5, on the cache's layout, with one operation per line. Fast
// copies: attention_kernels_avx2.cpp and attention_kernels_avx512.cpp.
#include "cpu/attention_kernels.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "arithmetic/elementary.h"
#include "arithmetic/float_types.h"

namespace invar {
namespace {

template <CachedFloat type>
float widened(const std::byte* elements, int64_t index) {
    if constexpr (type == CachedFloat::f32) {
        float value = 0;
        std::memcpy(&value, elements + index * 4, sizeof(value));
        return value;
    } else {
        uint16_t bits = 0;
        std::memcpy(&bits, elements + index * 2, sizeof(bits));
        return type == CachedFloat::f16 ? f16_to_f32(bits) : bf16_to_f32(bits);
    }
}

template <CachedFloat type>
float score(const ChunkTask& task, const float* query, int position) {
    float dot = 0;
    for (int i = 0; i < task.key_width; ++i) {
        dot = std::fma(query[i], widened<type>(task.keys, int64_t{i} * kChunkLanes + position), dot);
    }
    const float scaled = dot * task.scale;
    if (task.softcap == 0) return scaled;
    return task.softcap * law::tanh(scaled / task.softcap);
}

template <CachedFloat type>
float value(const ChunkTask& task, int position, int element) {
    if (task.values_in_keys) return widened<type>(task.keys, int64_t{element} * kChunkLanes + position);
    return widened<type>(task.values, int64_t{position} * task.value_width + element);
}

template <CachedFloat type>
void chunk_of_one(const ChunkTask& task, int index) {
    const auto [first, last] = task.visible[index];
    float* scores = task.scores + int64_t{index} * kChunkLanes;
    float* o = task.o + int64_t{index} * task.value_width;
    for (int t = first; t < last; ++t) scores[t] = score<type>(task, task.query[index], t);
    float m = scores[first];
    for (int t = first + 1; t < last; ++t) m = scores[t] > m ? scores[t] : m;
    float l = 0;
    for (int i = 0; i < task.value_width; ++i) o[i] = 0;
    for (int t = first; t < last; ++t) {
        const float e = law::exp(scores[t] - m);
        l = l + e;
        for (int i = 0; i < task.value_width; ++i) {
            o[i] = std::fma(e, value<type>(task, t, i), o[i]);
        }
    }
    task.m[index] = m;
    task.l[index] = l;
}

void chunk(const ChunkTask& task) {
    for (int index = 0; index < task.queries; ++index) {
        switch (task.type) {
            case CachedFloat::f16:
                chunk_of_one<CachedFloat::f16>(task, index);
                break;
            case CachedFloat::bf16:
                chunk_of_one<CachedFloat::bf16>(task, index);
                break;
            case CachedFloat::f32:
                chunk_of_one<CachedFloat::f32>(task, index);
                break;
        }
    }
}

void merge(const MergeTask& task) {
    for (int64_t q = 0; q < task.queries; ++q) {
        const float m = task.m[q], next_m = task.next_m[q], largest = next_m > m ? next_m : m;
        const float a = law::exp(m - largest);
        const float b = law::exp(next_m - largest);
        task.m[q] = largest;
        task.l[q] = std::fma(task.l[q], a, task.next_l[q] * b);
        float* o = task.o + q * task.value_width;
        const float* next_o = task.next_o + q * task.value_width;
        for (int64_t i = 0; i < task.value_width; ++i) o[i] = std::fma(o[i], a, next_o[i] * b);
    }
}

void finish(float l, const float* o, int64_t width, float* out) {
    for (int64_t i = 0; i < width; ++i) out[i] = o[i] / l;
}

}  // namespace

const AttentionKernels kAttentionKernelsScalar = {
    .name = "scalar", .isa = Isa::scalar, .chunk = chunk, .merge = merge, .finish = finish};

}  // namespace invar
