// RoPE tables are computed in binary64, the rotation in binary32.
#include "arithmetic/rope.h"

#include <algorithm>
#include <cmath>

#include "arithmetic/trigonometry.h"
#include "base/check.h"

namespace invar {
namespace {

constexpr double kTwoPi = 0x1.921fb54442d18p+2;
constexpr int64_t kPositionLimit = int64_t{1} << 24;

bool is_positive_number(double value) { return value > 0 && std::isfinite(value); }

// The pair index (a real number) whose angle makes `rotations` turns in original_context positions.
double yarn_pair_of(const RopeSpec& spec, double rotations) {
    return spec.rotary_width * law::log64(spec.original_context / (rotations * kTwoPi)) / (2.0 * law::log64(spec.base));
}

// How far each pair is stretched: 0 below the first boundary, 1 above the second, linear in between.
std::vector<double> yarn_ramp(const RopeSpec& spec) {
    double low = yarn_pair_of(spec, spec.beta_fast), high = yarn_pair_of(spec, spec.beta_slow);
    if (spec.whole_boundaries) {
        low = std::floor(low);
        high = std::ceil(high);
    }
    low = std::max(low, 0.0);
    high = std::min(high, spec.rotary_width - 1.0);
    if (low == high) high = high + 0.001;
    std::vector<double> ramp(spec.pairs());
    for (int i = 0; i < spec.pairs(); ++i) ramp[i] = std::clamp((i - low) / (high - low), 0.0, 1.0);
    return ramp;
}

}  // namespace

double yarn_attention(double factor, double mscale) {
    return factor <= 1 ? 1.0 : 0.1 * mscale * law::log64(factor) + 1.0;
}

Result<void> validate(const RopeSpec& spec) {
    if (spec.rotary_width < 2 || spec.rotary_width % 2 != 0 || spec.rotary_width > spec.head_width)
        return fail(
            "rope turns {} of {} elements of a head, but the count must be even, at least 2 and at most the head",
            spec.rotary_width, spec.head_width);
    if (spec.turning_pairs < 0 || spec.turning_pairs > spec.pairs())
        return fail("rope turns {} of {} pairs, which are not so many", spec.turning_pairs, spec.pairs());
    if (!(spec.base > 1 && spec.base <= 1e30))
        return fail("rope base {} is not greater than 1 and at most 1e30", spec.base);
    if (spec.scaling != RopeSpec::Scaling::none && !(spec.factor >= 1 && spec.factor <= 1e6))
        return fail("rope scaling factor {} is not between 1 and 1e6", spec.factor);
    if (spec.scaling == RopeSpec::Scaling::yarn) {
        if (!(spec.original_context >= 1 && spec.original_context < double(kPositionLimit)))
            return fail("YaRN's original context {} is not between 1 and {}", spec.original_context, kPositionLimit);
        if (!is_positive_number(spec.beta_fast) || !is_positive_number(spec.beta_slow) ||
            spec.beta_fast < spec.beta_slow)
            return fail("YaRN's beta_fast {} and beta_slow {} must be positive, the fast one not below the slow one",
                        spec.beta_fast, spec.beta_slow);
        if (!(spec.ext_factor >= 0 && spec.ext_factor <= 1))
            return fail("YaRN's ext_factor {} is not between 0 and 1", spec.ext_factor);
    }
    if (!is_positive_number(spec.attn_factor))
        return fail("rope's attention factor {} is not a positive number", spec.attn_factor);
    for (const std::vector<float>* factors : {&spec.frequency_factors, &spec.long_factors}) {
        if (!factors->empty() && static_cast<int>(factors->size()) != spec.pairs())
            return fail("there are {} rope frequency factors, but rope turns {} pairs", factors->size(), spec.pairs());
        for (const float factor : *factors)
            if (!(factor >= 0x1p-6f && factor <= 1e6f))
                return fail("rope frequency factor {} is not between 1/64 and 1e6", factor);
    }
    if (spec.long_context && spec.long_factors.empty()) return fail("rope has no frequency factors for long contexts");
    return {};
}

RopeTable::RopeTable(const RopeSpec& spec) : spec_(spec), frequencies_(spec.pairs()) {
    CHECK(validate(spec).has_value(), "the model refuses a rope specification that validate() refuses");
    const bool yarn = spec.scaling == RopeSpec::Scaling::yarn;
    const std::vector<double> ramp = yarn ? yarn_ramp(spec) : std::vector<double>();
    attention_factor_ = yarn ? spec.attn_factor * yarn_attention(spec.factor, 1.0) : spec.attn_factor;
    const std::vector<float>& factors = spec.long_context ? spec.long_factors : spec.frequency_factors;
    for (int i = 0; i < spec.pairs(); ++i) {
        double frequency = law::pow64(spec.base, -(2.0 * i) / spec.rotary_width);
        if (!factors.empty()) frequency = frequency / double(factors[i]);
        const double stretched = frequency / spec.factor;
        if (spec.scaling == RopeSpec::Scaling::linear) frequency = stretched;
        if (yarn) {
            const double kept = (1.0 - ramp[i]) * spec.ext_factor;
            frequency = stretched * (1.0 - kept) + frequency * kept;
        }
        frequencies_[i] = spec.turning_pairs > 0 && i >= spec.turning_pairs ? 0.0 : frequency;
    }
}

void RopeTable::angles(int64_t position, float* cosines, float* sines) const {
    CHECK(position >= 0 && position < kPositionLimit, "a context is shorter than 2^24 positions");
    for (size_t i = 0; i < frequencies_.size(); ++i) {
        const double angle = static_cast<double>(position) * frequencies_[i];
        cosines[i] = static_cast<float>(law::cos64(angle) * attention_factor_);
        sines[i] = static_cast<float>(law::sin64(angle) * attention_factor_);
    }
}

// Every step is in binary32, as in the converter to GGUF, so that both containers hold the same factors.
std::vector<float> llama3_frequency_factors(const RopeSpec& spec, const Llama3Scaling& scaling) {
    std::vector<float> factors(spec.pairs());
    const float low = static_cast<float>(scaling.low_frequency_factor);
    const float high = static_cast<float>(scaling.high_frequency_factor);
    const float factor = static_cast<float>(scaling.factor), context = static_cast<float>(scaling.original_context);
    for (int i = 0; i < spec.pairs(); ++i) {
        const float exponent = static_cast<float>(2 * i) / static_cast<float>(spec.rotary_width);
        const float frequency = 1.0f / static_cast<float>(law::pow64(spec.base, exponent));
        const float wavelength = static_cast<float>(kTwoPi) / frequency;
        if (wavelength < context / high) {
            factors[i] = 1.0f;
        } else if (wavelength > context / low) {
            factors[i] = factor;
        } else {
            const float kept = (context / wavelength - low) / (high - low);
            factors[i] = 1.0f / ((1.0f - kept) / factor + kept);
        }
    }
    return factors;
}

float law::position_scale(double beta, int64_t length, int64_t position) {
    const int64_t steps = position / length;
    return steps == 0 ? 1.0f : static_cast<float>(1.0 + beta * log64(1.0 + static_cast<double>(steps)));
}

void law::rope(const RopeSpec& spec, const float* cosines, const float* sines, float* head) {
    const int pairs = spec.pairs();
    for (int i = 0; i < pairs; ++i) {
        float& first = spec.pairing == RopePairing::adjacent ? head[2 * i] : head[i];
        float& second = spec.pairing == RopePairing::adjacent ? head[2 * i + 1] : head[i + pairs];
        const float x0 = first, x1 = second;
        const float x0_cos = x0 * cosines[i];
        const float x1_cos = x1 * cosines[i];
        first = std::fma(-x1, sines[i], x0_cos);
        second = std::fma(x0, sines[i], x1_cos);
    }
}

}  // namespace invar
