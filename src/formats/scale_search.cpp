// The parts of the scale search that need no template: cleaning of input and fits with an offset. scale_search.h
// explains the method.
#include "formats/scale_search.h"

namespace invar::scale_search {

void clean(const float* in, const float* importance, int count, float* x, float* weight) {
    float square_sum = 0.0f, importance_sum = 0.0f;
    for (int i = 0; i < count; ++i) {
        x[i] = std::isnan(in[i]) ? 0.0f : std::clamp(in[i], -kLargest, kLargest);
        square_sum += x[i] * x[i];
        const float given = importance == nullptr ? 1.0f : importance[i];
        weight[i] = given > 0.0f ? std::min(given, 0x1p60f) : 0.0f;  // NaN counts as 0
        importance_sum += weight[i];
    }
    // Both means are divided out, so that sums of the weights neither overflow nor vanish. The floor of 2^-20 keeps a
    // sub-block whose columns have no importance from being encoded at random.
    const float factor = static_cast<float>(count) / importance_sum;
    const bool has_importance = importance_sum > 0.0f && factor < INFINITY;
    const float mean_square = square_sum / static_cast<float>(count);
    for (int i = 0; i < count; ++i) {
        const float relative_square = mean_square > kSmallest * kSmallest ? x[i] * x[i] / mean_square : 0.0f;
        weight[i] = (has_importance ? weight[i] * factor + 0x1p-20f : 1.0f) * std::sqrt(1.0f + relative_square);
    }
}

float affine_error(const Values& values, Affine fit, const IntegerCodes& codes) {
    const float inverse = inverse_or_zero(fit.scale);
    float error = 0.0f;
    for (int i = 0; i < values.count; ++i) {
        const float code = codes.nearest((values.x[i] - fit.offset) * inverse);
        const float difference = values.x[i] - (fit.scale * code + fit.offset);
        error += values.weight[i] * difference * difference;
    }
    return error;
}

namespace {

// Weighted sums over the nearest codes c of a fit: the normal equations of x ~ scale * c + offset.
struct AffineSums {
    float w = 0.0f, x = 0.0f, c = 0.0f, xc = 0.0f, cc = 0.0f;

    Affine solve(Offset offset) const {
        const float determinant = w * cc - c * c;
        if (!(determinant > 0.0f)) return {0.0f, offset == Offset::free || x < 0.0f ? x / w : 0.0f};
        const Affine fit{(w * xc - x * c) / determinant, (cc * x - c * xc) / determinant};
        if (offset == Offset::not_positive && fit.offset > 0.0f) return {xc / cc, 0.0f};
        return fit;
    }
};

AffineSums affine_sums(const Values& values, Affine fit, const IntegerCodes& codes) {
    const float inverse = inverse_or_zero(fit.scale);
    AffineSums sums;
    for (int i = 0; i < values.count; ++i) {
        const float code = codes.nearest((values.x[i] - fit.offset) * inverse);
        const float weighted = values.weight[i] * code;
        sums.w += values.weight[i];
        sums.x += values.weight[i] * values.x[i];
        sums.c += weighted;
        sums.xc += weighted * values.x[i];
        sums.cc += weighted * code;
    }
    return sums;
}

}  // namespace

Affine fit_affine(const Values& values, const IntegerCodes& codes, Offset offset) {
    float low = values.x[0], high = values.x[0], total = 0.0f;
    for (int i = 0; i < values.count; ++i) {
        low = std::min(low, values.x[i]);
        high = std::max(high, values.x[i]);
        total += values.weight[i];
    }
    if (offset == Offset::not_positive) low = std::min(low, 0.0f);
    if (!(total > 0.0f) || high - low < kSmallest) return {0.0f, std::fabs(low) < kSmallest ? 0.0f : low};

    Affine best{(high - low) / codes.highest, low};
    float best_error = affine_error(values, best, codes);
    const auto try_fit = [&](Affine start) {
        const Affine fit = affine_sums(values, start, codes).solve(offset);
        if (!(fit.scale > 0.0f)) return false;
        const float error = affine_error(values, fit, codes);
        if (!(error < best_error)) return false;
        best = fit;
        best_error = error;
        return true;
    };
    // Tries steps up to 15 % longer than the range needs, which leave codes unused, and up to 15 % shorter, which clip
    // it.
    for (int step = -10; step <= 10; ++step) {
        try_fit({(high - low) / (codes.highest * (1.0f + kStretch / 10.0f * static_cast<float>(step))), low});
    }
    for (int round = 0; round < 4 && try_fit(best); ++round) {
    }
    return best;
}

namespace {

// The best integers (scale, minimum) near a sub-block's own fit, for given d and dmin.
struct SubBlockChoice {
    int scale = 0, minimum = 0;
    float error = INFINITY;
};

SubBlockChoice choose_integers(const Values& part, Affine target, float d, float dmin, const IntegerCodes& range,
                               const IntegerCodes& codes) {
    const float scale = range.nearest(target.scale * inverse_or_zero(d));
    const float minimum = range.nearest(-target.offset * inverse_or_zero(dmin));
    SubBlockChoice best;
    for (float sc = std::max(scale - 1.0f, range.lowest); sc <= std::min(scale + 1.0f, range.highest); sc += 1.0f) {
        for (float m = std::max(minimum - 1.0f, range.lowest); m <= std::min(minimum + 1.0f, range.highest);
             m += 1.0f) {
            const float error = affine_error(part, {d * sc, -dmin * m}, codes);
            if (error < best.error) best = {static_cast<int>(sc), static_cast<int>(m), error};
        }
    }
    return best;
}

// Normal equations of x ~ d * p - dmin * m over a super-block, p = sc * code.
struct SuperSums {
    double xp = 0.0, xm = 0.0, pp = 0.0, pm = 0.0, mm = 0.0;

    void add(const AffineSums& sums, double sc, double m) {
        xp += sums.xc * sc;
        xm += sums.x * m;
        pp += sums.cc * sc * sc;
        pm += sums.c * sc * m;
        mm += sums.w * m * m;
    }
    // Returns false if these sums do not determine a better pair.
    bool solve(float& d, float& dmin) const {
        const double determinant = pp * mm - pm * pm;
        if (!(pp > 0.0)) return false;
        if (!(determinant > 0.0)) {
            d = static_cast<float>((xp + dmin * pm) / pp);
            return d > 0.0f;
        }
        const double best_d = (xp * mm - xm * pm) / determinant, best_dmin = (xp * pm - xm * pp) / determinant;
        if (!(best_d > 0.0) || !(best_dmin >= 0.0)) return false;
        d = static_cast<float>(best_d);
        dmin = static_cast<float>(best_dmin);
        return true;
    }
};

}  // namespace

TwoLevelAffine fit_two_level_affine(const Values& values, int sub_count, int scale_highest, const IntegerCodes& codes) {
    const int width = values.count / sub_count;
    const IntegerCodes range{0.0f, static_cast<float>(scale_highest)};
    Affine target[16];
    float d = 0.0f, dmin = 0.0f;
    for (int k = 0; k < sub_count; ++k) {
        target[k] = fit_affine(values.part(k * width, width), codes, Offset::not_positive);
        d = std::max(d, target[k].scale / range.highest);
        dmin = std::max(dmin, -target[k].offset / range.highest);
    }
    TwoLevelAffine best;
    float best_error = INFINITY;
    for (int round = 0; round < 4; ++round) {
        TwoLevelAffine trial{stored_f16(d), stored_f16(dmin)};
        d = trial.d.value();
        dmin = trial.dmin.value();
        float error = 0.0f;
        SuperSums sums;
        for (int k = 0; k < sub_count; ++k) {
            const Values part = values.part(k * width, width);
            const SubBlockChoice choice = choose_integers(part, target[k], d, dmin, range, codes);
            trial.scale[k] = choice.scale;
            trial.minimum[k] = choice.minimum;
            error += choice.error;
            const float sc = static_cast<float>(choice.scale), m = static_cast<float>(choice.minimum);
            sums.add(affine_sums(part, {d * sc, -dmin * m}, codes), sc, m);
        }
        if (!(error < best_error)) break;
        best = trial;
        best_error = error;
        if (!sums.solve(d, dmin)) break;
    }
    return best;
}

}  // namespace invar::scale_search
