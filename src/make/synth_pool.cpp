// Encodes groups of normal weights once for each encoding and copies runs of them: see synth_pool.h.
#include "make/synth_pool.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "arithmetic/float_types.h"
#include "arithmetic/philox.h"
#include "base/check.h"
#include "formats/e2m1.h"

namespace invar {
namespace {

constexpr int64_t kWeights = int64_t{1} << 19;  // 256 KiB and more of codes: no cache line repeats soon
constexpr float kSigma = 0.02f;
constexpr float kMostWeight = 2 * 1.7320508f * kSigma;  // no weight is larger: a sum of four uniform numbers, minus 2
constexpr float kMostE4M3 = 448.0f, kMostE2M1 = 6.0f;

struct Layout {
    int group, codes, scales;  // weights, bytes, bytes
};
// In the order of PoolKind. Kinds without a scale in each group are copied in pieces of 32 weights.
constexpr std::array<Layout, 8> kLayouts = {
    {{32, 128, 0}, {32, 64, 0}, {32, 64, 0}, {32, 32, 0}, {16, 8, 1}, {32, 16, 1}, {32, 16, 2}, {128, 64, 2}}};

std::vector<float> normal_weights(uint64_t seed) {
    std::vector<float> weights(kWeights);
    for (int64_t i = 0; i < kWeights; ++i) {
        // The sum of four uniform numbers, minus its mean, has the variance 1/3.
        float sum = -2;
        for (uint32_t draw = 0; draw < 4; ++draw) sum += law::uniform(seed, static_cast<uint64_t>(i), draw);
        weights[static_cast<size_t>(i)] = sum * std::sqrt(3.0f) * kSigma;
    }
    return weights;
}

float largest(std::span<const float> weights) {
    float most = 0;
    for (const float weight : weights) most = std::max(most, std::fabs(weight));
    return most;
}

template <class T>
void put(std::vector<std::byte>& plane, T value) {
    std::byte bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    plane.insert(plane.end(), bytes, bytes + sizeof(T));
}

// Packs two codes per byte, the first in the low nibble.
template <class Code>
void put_nibbles(std::vector<std::byte>& plane, std::span<const float> weights, Code code) {
    for (size_t i = 0; i < weights.size(); i += 2) {
        put(plane, static_cast<uint8_t>(code(weights[i]) | code(weights[i + 1]) << 4));
    }
}

}  // namespace

int SynthPool::group_of(PoolKind kind) { return kLayouts[static_cast<size_t>(kind)].group; }

float SynthPool::scale_of(PoolKind kind) {
    if (kind == PoolKind::e4m3) return kMostWeight / kMostE4M3;
    return kind == PoolKind::nvfp4 ? kMostWeight / (kMostE4M3 * kMostE2M1) : 1.0f;
}

SynthPool::SynthPool(PoolKind kind, uint64_t seed) : kind_(kind) {
    const Layout& layout = kLayouts[static_cast<size_t>(kind)];
    codes_of_group_ = layout.codes;
    scales_of_group_ = layout.scales;
    const std::vector<float> weights = normal_weights(seed);
    const float scale = scale_of(kind);
    for (int64_t i = 0; i < kWeights; i += layout.group) {
        encode_group(std::span(weights).subspan(static_cast<size_t>(i), static_cast<size_t>(layout.group)), scale);
    }
}

void SynthPool::encode_group(std::span<const float> weights, float global) {
    std::vector<std::byte>& codes = planes_[0];
    std::vector<std::byte>& scales = planes_[1];
    const float most = largest(weights);
    const auto doubled_over = [&](float scale) {
        return [scale](float weight) { return nearest_e2m1(2.0f * weight / scale); };
    };
    switch (kind_) {
        case PoolKind::f32:
            for (const float weight : weights) put(codes, weight);
            break;
        case PoolKind::f16:
            for (const float weight : weights) put(codes, f32_to_f16(weight));
            break;
        case PoolKind::bf16:
            for (const float weight : weights) put(codes, f32_to_bf16(weight));
            break;
        case PoolKind::e4m3:
            for (const float weight : weights) put(codes, f32_to_e4m3(weight / global));
            break;
        case PoolKind::nvfp4: {
            const uint8_t scale = f32_to_e4m3(most / (kMostE2M1 * global));
            put(scales, scale);
            put_nibbles(codes, weights, doubled_over(e4m3_to_f32(scale) * global));
            break;
        }
        case PoolKind::mxfp4: {
            // The power of two that brings the largest weight into [4, 8), as the format's specification demands.
            const int exponent = std::ilogb(most) - 2;
            put(scales, static_cast<uint8_t>(exponent + 127));
            put_nibbles(codes, weights, doubled_over(std::ldexp(1.0f, exponent)));
            break;
        }
        case PoolKind::int4_32:
        case PoolKind::int4_128: {
            const uint16_t scale = f32_to_bf16(most / 7.5f);
            put(scales, scale);
            const float step = bf16_to_f32(scale);
            put_nibbles(codes, weights, [step](float weight) {
                return static_cast<int>(std::clamp(std::nearbyint(weight / step), -8.0f, 7.0f)) + 8;
            });
            break;
        }
    }
}

void SynthPool::fill(int plane, uint64_t stream, int64_t first_group, std::span<std::byte> out) const {
    CHECK(first_group % kRun == 0, "pieces begin with a run");
    const auto bytes = static_cast<size_t>(bytes_of_group(plane));
    const std::vector<std::byte>& pool = planes_[plane];
    const size_t groups = pool.size() / bytes;
    uint32_t run = static_cast<uint32_t>(first_group / kRun);
    for (size_t done = 0; done < out.size(); ++run) {
        const uint32_t draw =
            law::philox4x32({run, static_cast<uint32_t>(stream >> 32), 0, 0}, {static_cast<uint32_t>(stream), 1})[0];
        const size_t start = draw % (groups - static_cast<size_t>(kRun));
        const size_t length = std::min(static_cast<size_t>(kRun) * bytes, out.size() - done);
        std::copy_n(pool.data() + start * bytes, length, out.data() + done);
        done += length;
    }
}

}  // namespace invar
