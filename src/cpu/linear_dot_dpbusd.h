// The integer dot of AVX-VNNI, the policy IntegerDot of linear_*_ymm_body.h. vpdpbusd adds four products of unsigned by
// signed bytes to each int32 lane, without int16 sums and without signs. linear_dot_maddubs.h does the same for AVX2.
#pragma once

#include <immintrin.h>

#include "cpu/linear_steps.h"

namespace invar {
namespace {

using Ints = __m256i;

struct IntegerDot {
    static constexpr int kMostUnsigned = 255;  // 8-bit codes come as code + 128; dot_start subtracts that

    template <FormatId kId>
    static constexpr int groups_of_run() {
        return 1;
    }

    // A tile uses activations for all four rows while they are in registers, and weights for two tokens. That leaves
    // none of the 16 registers for the strands, which go to the stack once per record. Shapes without such moves (2 x
    // 2, 2 x 3, 4 x 1) took 1.05 to 1.5 times as long.
    template <FormatId kId>
    static constexpr int tile_rows() {
        return 4;
    }
    template <FormatId kId>
    static constexpr int tile_tokens() {
        return 2;
    }

    template <FormatId kId, bool kFirst>
    [[gnu::always_inline]] static void add(Ints& sum, Ints& /*partial*/, Ints w, Ints q) {
        sum = _mm256_dpbusd_avx_epi32(sum, w, q);
    }
    [[gnu::always_inline]] static void end_run(Ints& /*sum*/, Ints& /*partial*/) {}
};

}  // namespace
}  // namespace invar
