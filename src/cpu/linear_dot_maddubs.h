// The integer dot of AVX2, the policy IntegerDot of linear_*_ymm_body.h: vpmaddubsw and int16 sums, which are widened
// after a run of k-groups. Exact for every code (the bounds are below). linear_dot_dpbusd.h does the same for AVX-VNNI.
#pragma once

#include <immintrin.h>

#include "cpu/linear_steps.h"

namespace invar {
namespace {

using Ints = __m256i;

struct IntegerDot {
    // maddubs multiplies unsigned by signed bytes and saturates its sums of two at 32767: unsigned codes up to 127 are
    // safe. 8-bit codes come signed and are computed as |w| * (x with w's sign): 128 * 127 * 2 = 32512.
    static constexpr int kMostUnsigned = 127;

    template <FormatId kId>
    static constexpr bool comes_signed() {
        return RecordOf<kId>::kOffset == 128;
    }

    // How many k-groups' int16 sums of two products may be added up: the largest code * 127 * 2 * groups is below
    // 32768.
    template <FormatId kId>
    static constexpr int groups_of_run() {
        constexpr RecordLayout kLayout = RecordOf<kId>::kLayout;
        if (comes_signed<kId>()) return 1;
        if (kLayout.levels == CodeLevels::e2m1) return 4;  // 24: 24384
        if (kLayout.nibbles && kLayout.crumbs) return 2;   // 63: 32004
        if (kLayout.nibbles && kLayout.bits) return 4;     // 31: 31496
        return RecordOf<kId>::kHalves ? 4 : 8;             // 7: 7112; 15: 30480
    }

    // The faster of the shapes without spills. With signed codes, |w| and x with w's sign are made anew for each
    // product.
    template <FormatId kId>
    static constexpr int tile_rows() {
        return comes_signed<kId>() ? 2 : 4;
    }
    template <FormatId kId>
    static constexpr int tile_tokens() {
        return comes_signed<kId>() ? 2 : 1;
    }

    // Multiplies a k-group of weights and activations; kFirst: the first of a run.
    template <FormatId kId, bool kFirst>
    [[gnu::always_inline]] static void add(Ints& /*sum*/, Ints& partial, Ints w, Ints q) {
        if constexpr (comes_signed<kId>()) {
            partial = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(q, w));
        } else {
            const Ints products = _mm256_maddubs_epi16(w, q);
            partial = kFirst ? products : _mm256_add_epi16(partial, products);
        }
        stays_a_chain(partial);
    }
    [[gnu::always_inline]] static void end_run(Ints& sum, Ints partial) {
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(partial, _mm256_set1_epi16(1)));
        stays_a_chain(sum);
    }

  private:
    // Keeps a running sum a chain. Without it GCC turns a chain of integer additions into a tree whose leaves, 32
    // registers of products, all go to the stack (a tile of 2 x 2 had 55 such moves and ran at two thirds of its
    // speed).
    [[gnu::always_inline]] static void stays_a_chain(Ints& sum) { __asm__("" : "+x"(sum)); }
};

}  // namespace
}  // namespace invar
