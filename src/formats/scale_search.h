// How the encoders find good scales. Every encoder minimises the sum of w_i (x_i - decoded_i)^2 over its codes and
// scales: it tries a row of candidate scales, solves the weighted least squares for each, and repeats "nearest codes,
// then best scale" while the error falls. Two-level formats (the k-quants) then round the scales to their integers by
// the true error, and fit the super-block scale again.
// Only IEEE operations in a stated order are used: a file quantised on one machine has the same bytes on every other.
// Bit layouts are unknown here; formats/NAME/NAME.cpp packs.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "formats/stored.h"

namespace invar::scale_search {

// Encoders read a NaN as 0 and clamp magnitudes to 2^28. No format with binary16 scales reaches further (Q6_K ends at
// 65504 * 128 * 32 = 2^28), and sums of fourth powers of such values stay finite. Below 2^-26 every code rounds to
// zero.
inline constexpr float kLargest = 0x1p28f;
inline constexpr float kSmallest = 0x1p-26f;

// `count` cleaned values and their positive weights. The weight of a value in the squared error is importance / mean
// importance * sqrt(1 + x^2 / mean square), with means over the block. Large values thus matter more than their share
// of the sum, and small ones still count. Without importance that factor is 1.
struct Values {
    const float* x;
    const float* weight;
    int count;

    Values part(int first, int part_count) const { return {x + first, weight + first, part_count}; }
};

template <int kCount>
struct Block {
    float x[kCount];
    float weight[kCount];

    Block(const float* in, const float* importance);
    Values values() const { return {x, weight, kCount}; }
    Values part(int first, int part_count) const { return values().part(first, part_count); }
};

void clean(const float* in, const float* importance, int count, float* x, float* weight);

template <int kCount>
Block<kCount>::Block(const float* in, const float* importance) {
    clean(in, importance, kCount, x, weight);
}

// The binary16 next to a scale, saturating at 65504.
inline StoredF16 stored_f16(float scale) {
    return StoredF16::from_bits(f32_to_f16(std::clamp(scale, -65504.0f, 65504.0f)));
}

// The bfloat16 next to a scale. Scales of cleaned values are far from the ends of its range.
inline StoredBF16 stored_bf16(float scale) { return StoredBF16::from_bits(f32_to_bf16(scale)); }

// 1 / scale, or 0 for a scale of 0, which makes every code the one nearest to 0.
inline float inverse_or_zero(float scale) { return scale == 0.0f ? 0.0f : 1.0f / scale; }

// ---- Code sets: nearest(v) is the member of the set next to v. ----

// The integers lowest..highest. Ties go to the even one.
struct IntegerCodes {
    float lowest, highest;

    float nearest(float v) const {
        v = v < lowest ? lowest : v;
        v = v > highest ? highest : v;
        return (v + 0x1.8p23f) - 0x1.8p23f;  // |v| < 2^22: the addition rounds to an integer
    }
    int index(float v) const { return static_cast<int>(nearest(v) - lowest); }
};

// A table of 16 rising int8 levels. Ties go to the upper level.
struct LevelCodes {
    float lowest, highest;
    const int8_t* levels;
    std::array<uint8_t, 512> index_of_half;  // index of the level nearest to every v in [h/2 - 128, (h+1)/2 - 128)

    explicit constexpr LevelCodes(const int8_t (&table)[16])
        : lowest(table[0]), highest(table[15]), levels(table), index_of_half{} {
        // Midpoints are multiples of 1/2, so a whole cell of width 1/2 lies on one side of each midpoint.
        int level = 0;
        for (int h = 0; h < 512; ++h) {
            while (level < 15 && table[level] + table[level + 1] <= h - 256) ++level;
            index_of_half[h] = static_cast<uint8_t>(level);
        }
    }
    int index(float v) const {
        v = v < lowest ? lowest : v;
        v = v > highest ? highest : v;
        return index_of_half[static_cast<int>(2.0f * v + 256.0f)];
    }
    float nearest(float v) const { return levels[index(v)]; }
};

// ---- One scale: x ~ scale * code ----

template <class Codes>
float scale_error(const Values& values, float scale, const Codes& codes) {
    const float inverse = inverse_or_zero(scale);
    float error = 0.0f;
    for (int i = 0; i < values.count; ++i) {
        const float difference = values.x[i] - scale * codes.nearest(values.x[i] * inverse);
        error += values.weight[i] * difference * difference;
    }
    return error;
}

// Sums over the nearest codes c of x * inverse. The best scale for them is xc / cc; it lowers the error by xc^2 / cc
// against zero.
struct ScaleSums {
    float xc = 0.0f, cc = 0.0f;
    float gain() const { return cc > 0.0f ? xc * xc / cc : 0.0f; }
};

template <class Codes>
ScaleSums scale_sums(const Values& values, float inverse, const Codes& codes) {
    ScaleSums sums;
    for (int i = 0; i < values.count; ++i) {
        const float c = codes.nearest(values.x[i] * inverse);
        const float weighted = values.weight[i] * c;
        sums.xc += weighted * values.x[i];
        sums.cc += weighted * c;
    }
    return sums;
}

// How far beyond or short of an end of the code set, relative to that end, candidate scales put the largest value. On
// Gaussian sub-blocks 0.15 is as good as or better than 0.10 and 0.12 for every format.
inline constexpr float kStretch = 0.15f;

// Finds the scale, of either sign, of least error. It tries 19 candidates for each end of the code set, which put the
// largest value near that end, and then improves codes and scale in turn.
template <class Codes>
float fit_scale(const Values& values, const Codes& codes) {
    float extreme = 0.0f;
    for (int i = 0; i < values.count; ++i) {
        if (std::fabs(values.x[i]) > std::fabs(extreme)) extreme = values.x[i];
    }
    if (std::fabs(extreme) < kSmallest) return 0.0f;
    ScaleSums best;
    for (const float end : {codes.lowest, codes.highest}) {
        for (int step = -9; step <= 9; ++step) {
            const float target = end * (1.0f + kStretch / 9.0f * static_cast<float>(step));
            const ScaleSums sums = scale_sums(values, target / extreme, codes);
            if (sums.gain() > best.gain()) best = sums;
        }
    }
    if (best.gain() == 0.0f) return 0.0f;
    for (int round = 0; round < 4; ++round) {
        const ScaleSums sums = scale_sums(values, best.cc / best.xc, codes);
        if (!(sums.gain() > best.gain())) break;
        best = sums;
    }
    return best.xc / best.cc;
}

// ---- Scale and offset: x ~ scale * code + offset, codes 0..highest ----

struct Affine {
    float scale = 0.0f, offset = 0.0f;
};

enum class Offset { free, not_positive };  // the k-quants subtract a minimum that cannot be negative

float affine_error(const Values& values, Affine fit, const IntegerCodes& codes);
Affine fit_affine(const Values& values, const IntegerCodes& codes, Offset offset);

// ---- Two levels: x ~ (d * sc_k) * code, integers sc_k in scale_lowest..scale_highest for sub-blocks of equal size
// ----

struct TwoLevelScales {
    StoredF16 d;
    int scale[16] = {};
};

// Sums over a sub-block for the best d: like ScaleSums, with sc * c in place of c.
template <class Codes>
TwoLevelScales fit_two_level(const Values& values, int sub_count, const IntegerCodes& scale_range, const Codes& codes) {
    const int width = values.count / sub_count;
    float target[16], largest = 0.0f;
    for (int k = 0; k < sub_count; ++k) {
        target[k] = fit_scale(values.part(k * width, width), codes);
        if (std::fabs(target[k]) > std::fabs(largest)) largest = target[k];
    }
    TwoLevelScales best;
    float best_error = INFINITY;
    float d = largest / scale_range.lowest;  // the negative end reaches one further
    for (int round = 0; round < 4; ++round) {
        TwoLevelScales trial{stored_f16(d)};
        d = trial.d.value();
        float error = 0.0f, xc = 0.0f, cc = 0.0f;
        for (int k = 0; k < sub_count; ++k) {
            const Values part = values.part(k * width, width);
            const float middle = scale_range.nearest(target[k] * inverse_or_zero(d));
            float least = INFINITY;
            for (float sc = std::max(middle - 1.0f, scale_range.lowest);
                 sc <= std::min(middle + 1.0f, scale_range.highest); sc += 1.0f) {
                const float sc_error = scale_error(part, d * sc, codes);
                if (sc_error < least) least = sc_error, trial.scale[k] = static_cast<int>(sc);
            }
            const float sc = static_cast<float>(trial.scale[k]);
            const ScaleSums sums = scale_sums(part, inverse_or_zero(d * sc), codes);
            xc += sums.xc * sc;
            cc += sums.cc * sc * sc;
            error += least;
        }
        if (!(error < best_error)) break;
        best = trial;
        best_error = error;
        if (!(cc > 0.0f)) break;
        d = xc / cc;
    }
    return best;
}

// x ~ (d * sc_k) * code - dmin * m_k, integers sc_k and m_k in 0..scale_highest.
struct TwoLevelAffine {
    StoredF16 d, dmin;
    int scale[16] = {};
    int minimum[16] = {};
};

TwoLevelAffine fit_two_level_affine(const Values& values, int sub_count, int scale_highest, const IntegerCodes& codes);

}  // namespace invar::scale_search
