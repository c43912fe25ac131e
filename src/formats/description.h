// How a format's folder describes its weights beyond their meaning: the pieces that codes and scales are made of, the
// place of the scales in a block (for the audit), and the type number in GGUF files. The packed layouts
// (layout/record.h, cuda/weight_layout.h) and the kernels of every instruction set follow from the pieces. A
// description made of the pieces named here is fast everywhere at once; a new piece is added to the readers that
// docs/adding_a_kernel.md names. Constants only: files compiled for an instruction set and device code include this
// header.
#pragma once

#include <cstdint>
#include <string_view>

namespace invar {

// The element type of a float format, one element per weight; activations stay binary32. none: integer codes and an
// integer dot.
enum class Elements : uint8_t { none, f32, f16, bf16, e4m3 };

constexpr int element_bytes(Elements elements) {
    switch (elements) {
        case Elements::none:
            return 0;
        case Elements::f32:
            return 4;
        case Elements::f16:
        case Elements::bf16:
            return 2;
        case Elements::e4m3:
            return 1;
    }
    return 0;
}

enum class CodeLevels : uint8_t { plain, iq4, e2m1 };  // what a 4-bit code means: itself, or an entry of a table

// The scales of 256 columns of a row. layout/record.h lists in the same order how the packed layouts hold them.
enum class ScaleForm : uint8_t {
    none,
    f16,          // f16 d for each block of 32
    f16_minimum,  // f16 d and f16 m for each block of 32
    six_bit,      // per block 6 bits of scale and 6 of minimum, or two scales + 32 (halves); per row f16 d (and dmin)
    nibbles,      // per half block 4 bits of scale and 4 of minimum; per row f16 d and dmin
    int8,         // per half block an int8; per row f16 d
    iq4_xs,       // per block 6 bits, scale + 32; per row f16 d
    e8m0,         // per block a power of two
    ue4m3,        // per half block an unsigned E4M3
    bf16,         // bf16 d for each block of 32
    f16_of_128,   // f16 d per 128 columns
    bf16_of_128,  // bf16 d per 128 columns
    f32_of_128,   // f32 per 128 columns, shared by neighbouring rows: float elements with a grid
};

// The float steps of a block of 32 columns (docs/arithmetic.md, section 1).
enum class Step : uint8_t {
    plain,           // s = fma(dw d, idot, s)
    minimum,         // plain, then s = fma(m, sx, s); the k-quants' m is -(dmin m_b)
    halves,          // s = fma(dw d, sc0 idot0 + sc1 idot1, s)
    halves_minimum,  // halves, then s = fma(-(dmin d), m0 S0 + m1 S1, s)
    two_floats,      // s = fma(dw0 d, idot0, s), then s = fma(dw1 d, idot1, s)
};

inline constexpr uint32_t kNoGgufType = 0xFFFFFFFF;  // GGUF files have no such tensors: the format is SafeTensors'

struct Description {
    uint32_t gguf_type = kNoGgufType;
    Elements elements = Elements::none;
    // The pieces of a code in an integer format. A code is unsigned, `offset` above the integer it stands for. It is
    // one of `bytes` (int8 + 128), `nibbles` whose upper bits are in crumbs (2) or bits (1), or crumbs alone or with
    // bits.
    bool bytes = false, nibbles = false, crumbs = false, bits = false;
    CodeLevels levels = CodeLevels::plain;
    int offset = 0;       // with levels: the offset of the table's entries
    bool halves = false;  // two scales a block of 32, one for each 16 columns
    ScaleForm scales = ScaleForm::none;

    constexpr bool is_float() const { return elements != Elements::none; }
    // Whether packed layouts and fast kernels follow from the description. Otherwise rows stay as stored and only
    // scalar code multiplies them.
    constexpr bool has_pieces() const { return is_float() || scales != ScaleForm::none; }
    constexpr Step step() const {
        if (scales == ScaleForm::ue4m3) return Step::two_floats;
        if (scales == ScaleForm::nibbles) return Step::halves_minimum;
        if (halves) return Step::halves;
        const bool minimum = scales == ScaleForm::f16_minimum || scales == ScaleForm::six_bit;
        return minimum ? Step::minimum : Step::plain;
    }
};

// Where a scale lies in a block, for checks that look at scales rather than at weights (proof/audit).
enum class ScaleKind : uint8_t { f16, e8m0, ue4m3, bf16, f32 };

struct ScaleField {
    std::string_view name;  // as in the drawing of the format: "d", "dmin", "s2"
    ScaleKind kind = ScaleKind::f16;
    int offset = 0;  // bytes from the start of the block
    int group = 0;   // 0: factors of the codes; 1: minima. Scales of a group are compared with each other
};

}  // namespace invar
