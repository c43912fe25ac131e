// Rotary position embedding: the angle by which each pair turns (computed in binary64, rounded once to f32) and the
// rotation itself. Covers plain, linear, YaRN, Llama-3 and LongRoPE frequencies and both pairings. It reads no
// checkpoint: the model fills RopeSpec. Sources: Su et al. 2021 (RoPE), Peng et al. 2023 (YaRN, arXiv 2309.00071), Ding
// et al. 2024 (LongRoPE, arXiv 2402.13753). Formulas: docs/arithmetic.md, section 4.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"

namespace invar {

enum class RopePairing {
    adjacent,  // pair i is elements (2 i, 2 i + 1): llama in GGUF
    halves,    // pair i is elements (i, i + rotary_width / 2): qwen, NEOX
};

struct RopeSpec {
    enum class Scaling { none, linear, yarn };

    RopePairing pairing = RopePairing::halves;
    int rotary_width = 0;  // even, <= head_width; elements past it are left alone
    int head_width = 0;
    double base = 0;  // pair i turns by base^(-2 i / rotary_width) radians a position
    Scaling scaling = Scaling::none;
    double factor = 1;            // linear, yarn: how many times the context was stretched
    double attn_factor = 1;       // multiplies cosines and sines; of yarn beside the paper's 0.1 ln(factor) + 1
    double original_context = 0;  // yarn and LongRoPE: for which the model was trained first
    // yarn
    double ext_factor = 1;         // share of the unstretched frequencies in the mix; 1 = the paper's
    double beta_fast = 32;         // pairs that turn more often than this in original_context keep their frequency
    double beta_slow = 1;          // pairs that turn less often are stretched fully
    bool whole_boundaries = true;  // the ramp of yarn begins and ends at whole pairs
    // Pairs from this one on do not turn, although the exponents count them (Gemma 4's proportional rope). 0: all turn.
    int turning_pairs = 0;
    // One factor per pair, or empty: the pair's frequency is divided by it (rope_freqs.weight in GGUF).
    std::vector<float> frequency_factors;
    // LongRoPE: the factors for contexts beyond original_context, in place of those above; empty without LongRoPE.
    std::vector<float> long_factors;
    bool long_context = false;  // whether long_factors are used: one choice for all positions of a context

    int pairs() const { return rotary_width / 2; }
};

// Returns one sentence about what is wrong in a file's spec (odd width, base <= 1, a factor that is not positive, a
// count that differs...).
Result<void> validate(const RopeSpec& spec);

// The angles of a spec. Construct it only from a valid spec.
class RopeTable {
  public:
    explicit RopeTable(const RopeSpec& spec);

    // cosines, sines: [pairs], cos and sin of position * frequency, times the attention factor, rounded once.
    // 0 <= position < 2^24.
    void angles(int64_t position, float* cosines, float* sines) const;

    const RopeSpec& spec() const { return spec_; }
    const std::vector<double>& frequencies() const { return frequencies_; }  // [pairs], radians a position
    double attention_factor() const { return attention_factor_; }            // of cosines and sines

  private:
    RopeSpec spec_;
    std::vector<double> frequencies_;
    double attention_factor_ = 1;
};

// 0.1 mscale ln(factor) + 1, and 1 for factor <= 1: the paper's attention temperature as transformers folds it into
// cos and sin. A model that states its attention factor A sets attn_factor = A / yarn_attention(factor, 1).
double yarn_attention(double factor, double mscale);

// Llama 3's scaling as given in a config: wavelengths below original_context / high_frequency_factor keep their
// frequency, those above original_context / low_frequency_factor are stretched by factor, linear in between.
struct Llama3Scaling {
    double factor = 8;
    double low_frequency_factor = 1;
    double high_frequency_factor = 4;
    double original_context = 8192;
};

// [pairs], for RopeSpec::frequency_factors; computed in binary32, to the bit what GGUF files of such models hold.
std::vector<float> llama3_frequency_factors(const RopeSpec& spec, const Llama3Scaling& scaling);

namespace law {

// 1 + beta ln(1 + floor(position / length)) in binary64, rounded once; 1 below `length` (Llama 4, Ministral 3).
float position_scale(double beta, int64_t length, int64_t position);

// Turns one head [head_width] in place. For pair (x0, x1): y0 = fma(-x1, sin, x0 * cos), y1 = fma(x0, sin, x1 * cos).
void rope(const RopeSpec& spec, const float* cosines, const float* sines, float* head);

}  // namespace law
}  // namespace invar
