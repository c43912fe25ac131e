// The common part of the vector kernels of all instruction sets: the sizes that follow from a format's record, and the
// table of a kernel's instances. The float steps: Step in formats/description.h. Constants only, so that no function is
// shared between instruction sets.
#pragma once

#include <cstdint>

#include "layout/record.h"

namespace invar {

struct LinearTask;

// How many vectors of scales a step needs.
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
    static constexpr Step kStep = kLayout.step();
    static constexpr int kScaleVectors = scale_vectors(kStep);
};

// A kernel's instances: make.operator()<FormatId>() for each format with codes and scales in records. The others, which
// never come here, are null (float formats: float_products.h; formats without pieces: the scalar kernel).
using RunLinear = void (*)(const LinearTask&);
template <class Make>
constexpr FormatTable<RunLinear> quantized_table(Make make) {
    return format_table<RunLinear>([=]<FormatId kId>() -> RunLinear {
        if constexpr (record_layout(kId).has_pieces() && !record_layout(kId).is_float()) {
            return make.template operator()<kId>();
        } else {
            return nullptr;
        }
    });
}

// The levels of 4-bit codes, made unsigned by the record's offset (formats/iq4_nl, formats/mxfp4).
inline constexpr uint8_t kIq4LevelsPlus128[16] = {1,   24,  45,  63,  79,  93,  106, 118,
                                                  129, 141, 153, 166, 181, 197, 217, 241};
inline constexpr uint8_t kE2M1LevelsPlus12[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

}  // namespace invar
