// What the vector kernels of every instruction set share: the float step of each format (docs/arithmetic.md, section 1)
// and the sizes that follow from its record. Constants only, so that no function is shared between instruction sets.
#pragma once

#include <cstdint>

#include "layout/record.h"

namespace invar {

// The strand step, with the lanes of d (activation scale), sx, and S0, S1 (sums of the activation codes of each half).
enum class Step : uint8_t {
    plain,           // s = fma(dw d, idot, s)
    minimum,         // plain, then s = fma(m, sx, s); the k-quants' m is -(dmin m_b)
    halves,          // s = fma(dw d, sc0 idot0 + sc1 idot1, s)
    halves_minimum,  // halves, then s = fma(-(dmin d), m0 S0 + m1 S1, s)
    two_floats,      // s = fma(dw0 d, idot0, s), then s = fma(dw1 d, idot1, s)
};

constexpr Step step_of(const RecordLayout& layout) {
    if (layout.scales == ScaleForm::ue4m3) return Step::two_floats;
    if (layout.scales == ScaleForm::nibbles) return Step::halves_minimum;
    if (layout.halves) return Step::halves;
    const bool minimum = layout.scales == ScaleForm::f16_minimum || layout.scales == ScaleForm::six_bit;
    return minimum ? Step::minimum : Step::plain;
}

// Vectors of scales that a step needs.
constexpr int scale_vectors(Step step) {
    switch (step) {
        case Step::plain:
            return 1;
        case Step::minimum:
            return 2;
        case Step::halves:
            return 3;
        case Step::halves_minimum:
            return 6;
        case Step::two_floats:
            return 2;
    }
    return 0;
}

template <FormatId kId>
struct RecordOf {
    static constexpr RecordLayout kLayout = record_layout(kId);
    static constexpr int kMainBytes = kLayout.main_bytes();
    static constexpr int kSideBytes = kLayout.side_bytes();
    static constexpr int kCrumbsAt = kLayout.crumbs_at();
    static constexpr int kBitsAt = kLayout.bits_at();
    static constexpr int kScalesAt = kLayout.scales_at();
    static constexpr bool kHalves = kLayout.halves;
    static constexpr int kOffset = kLayout.offset;
    static constexpr Step kStep = step_of(kLayout);
    static constexpr int kScaleVectors = scale_vectors(kStep);
};

// The levels of 4-bit codes, made unsigned by adding the record's offset (formats/iq4_nl, formats/mxfp4).
inline constexpr uint8_t kIq4LevelsPlus128[16] = {1,   24,  45,  63,  79,  93,  106, 118,
                                                  129, 141, 153, 166, 181, 197, 217, 241};
inline constexpr uint8_t kE2M1LevelsPlus12[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

}  // namespace invar
