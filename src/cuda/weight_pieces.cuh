// How kernels read weights: they take the planes and scales of weight_layout.h apart in registers and compute the float
// step of each format. Equal to weight() and accumulate() of formats/NAME/NAME.h. The kernels (linear_decode.cuh,
// linear_tiles.cuh) decide which thread reads what, and in which order blocks come.
#pragma once

#include "arithmetic/float_types.h"
#include "cuda/simt.h"
#include "cuda/weight_layout.h"

namespace invar::cuda {

using simt::Global;
using simt::Words2;
using simt::Words4;

// The scales of one block of 32 as stored: integers, and the bits of the block's or superblock's f16 numbers.
struct RawScales {
    uint32_t packed = 0;
    uint16_t d = 0, m = 0;
};

// The same scales in the form that the float step takes.
struct BlockScales {
    float dw = 0;     // every factor of d except the integer scales of halves
    float other = 0;  // minimum: m; halves_minimum: dmin; two_floats: dw of half 1
    int32_t scale[2] = {};
    int32_t minimum[2] = {};
};

// The part of a block's activations that the float step needs.
struct BlockInputs {
    float d, sx;
    int32_t half_sum[2];
};

template <FormatId kId>
struct Weights {
    static constexpr WeightLayout kLayout = weight_layout(kId);
    // These are numbers because device code cannot name the object they come from.
    static constexpr Step kStep = kLayout.step();
    static constexpr ScaleForm kScales = kLayout.scales;
    static constexpr CodeLevels kTable = kLayout.levels;
    static constexpr int kOffset = kLayout.stored_offset();
    static constexpr int kCrumbsAt = kLayout.crumbs_at(), kCrumbsShift = kLayout.crumbs_shift();
    static constexpr int kBitsAt = kLayout.bits_at(), kBitsShift = kLayout.bits_shift();
    static constexpr int kRecordBytes = kLayout.record_bytes(), kRecordsAt = kLayout.records_at();
    static constexpr int kSpanBytes = kLayout.span_bytes();
    static constexpr int kScaleBytes = kLayout.scale_bytes(), kSideBytes = kLayout.side_bytes();
    static constexpr int kSideAt = kLayout.side_at();
    static constexpr bool kHalves = kLayout.halves;
    static constexpr bool kOf128 = kScales == ScaleForm::f16_of_128 || kScales == ScaleForm::bf16_of_128;
    static constexpr bool kBf16Scales = kScales == ScaleForm::bf16 || kScales == ScaleForm::bf16_of_128;
    // True for codes that dot4 takes unchanged. Others are unsigned and `offset` too large.
    static constexpr bool kSigned = kLayout.is_signed();
    static constexpr bool kNibblesOnly = kLayout.nibbles && !kLayout.crumbs && !kLayout.bits && !kSigned;

    // Bytes of a row group, and from its start to record `record`.
    SIMT_DEVICE static int64_t group_size(int64_t records) {
        return (records + kSpanRecords - 1) / kSpanRecords * kRecordsAt + records * kRecordBytes;
    }
    SIMT_DEVICE static int64_t record_at(int64_t record) {
        return record / kSpanRecords * kSpanBytes + kRecordsAt + record % kSpanRecords * kRecordBytes;
    }

    // A lane's codes of one record, as loaded.
    struct Planes {
        uint32_t nibbles[kLayout.bytes ? 8 : 4];
        uint32_t crumbs[2];
        uint32_t bits;
    };

    // ---- codes

    SIMT_DEVICE static Planes load_planes(Global<const uint8_t> record, int lane) {
        Planes planes{};
        if constexpr (kLayout.bytes || kLayout.nibbles) {
            const Words4 first = simt::load_once(simt::view<const Words4>(record) + lane);
            for (int j = 0; j < 4; ++j) planes.nibbles[j] = first.w[j];
        }
        if constexpr (kLayout.bytes) {
            const Words4 second = simt::load_once(simt::view<const Words4>(record + 512) + lane);
            for (int j = 0; j < 4; ++j) planes.nibbles[4 + j] = second.w[j];
        }
        if constexpr (kLayout.crumbs) {
            const Words2 crumbs = simt::load_once(simt::view<const Words2>(record + kCrumbsAt) + lane);
            planes.crumbs[0] = crumbs.w[0];
            planes.crumbs[1] = crumbs.w[1];
        }
        if constexpr (kLayout.bits) planes.bits = simt::load_once(simt::view<const uint32_t>(record + kBitsAt) + lane);
        return planes;
    }

    // Looks up eight levels of a table at once. Selectors are the nibbles of `codes`: the low 16 bits for the k-group
    // of j % 4, the high 16 bits for that of j % 4 + 4.
    SIMT_DEVICE static void look_up(uint32_t codes, uint32_t& low, uint32_t& high) {
        constexpr bool kIq4 = kTable == CodeLevels::iq4;
        // kLevels of formats/iq4_nl, or kDoubledE2M1, four signed bytes per word.
        constexpr uint32_t t0 = kIq4 ? 0xBFAD9881u : 0x03020100u, t1 = kIq4 ? 0xF6EADDCFu : 0x0C080604u;
        constexpr uint32_t t2 = kIq4 ? 0x26190D01u : 0xFDFEFF00u, t3 = kIq4 ? 0x71594535u : 0xF4F8FAFCu;
        const uint32_t index = codes & 0x77777777u;                        // within half a table
        const uint32_t half = ((codes & 0x88888888u) >> 1) | 0x32103210u;  // byte i of one or the other
        low = simt::permute(simt::permute(t0, t1, index), simt::permute(t2, t3, index), half);
        high = simt::permute(simt::permute(t0, t1, index >> 16), simt::permute(t2, t3, index >> 16), half >> 16);
    }

    // Makes k-groups j and j + 4 (0 <= j < 4) of a block, one code per byte, from the words of the planes: `first` and
    // `second` are the nibbles' word j % 4, or the bytes' words j and j + 4.
    SIMT_DEVICE static void combine(uint32_t first, uint32_t second, const uint32_t (&crumbs)[2], uint32_t bits, int j,
                                    uint32_t& low, uint32_t& high) {
        if constexpr (kLayout.bytes) {
            low = first;
            high = second;
        } else if constexpr (kTable != CodeLevels::plain) {
            look_up(first, low, high);
        } else {
            low = high = 0;
            if constexpr (kLayout.nibbles) {
                low = first & 0x0F0F0F0Fu;
                high = first >> 4 & 0x0F0F0F0Fu;
            }
            if constexpr (kLayout.crumbs) {
                low |= (crumbs[0] >> (2 * j) & 0x03030303u) << kCrumbsShift;
                high |= (crumbs[1] >> (2 * j) & 0x03030303u) << kCrumbsShift;
            }
            if constexpr (kLayout.bits) {
                low |= (bits >> j & 0x01010101u) << kBitsShift;
                high |= (bits >> (j + 4) & 0x01010101u) << kBitsShift;
            }
        }
    }
    SIMT_DEVICE static void pair_of_groups(const Planes& planes, int j, uint32_t& low, uint32_t& high) {
        const uint32_t second = kLayout.bytes ? planes.nibbles[kLayout.bytes ? 4 + j : 0] : 0;
        combine(planes.nibbles[j], second, planes.crumbs, planes.bits, j, low, high);
    }
    // The same from memory, for one pair of k-groups of the block of `lane`, as a lane of a tensor-core fragment needs
    // it.
    struct PairWords {
        uint32_t first, second, crumbs[2], bits;
    };
    // `at`: bytes from `records` to the record.
    SIMT_DEVICE static PairWords load_pair_words(Global<const uint8_t> records, int at, int lane, int j) {
        PairWords words{};
        if constexpr (kLayout.bytes || kLayout.nibbles)
            words.first = simt::view<const uint32_t>(records + (16 * lane + 4 * j))[at / 4];
        if constexpr (kLayout.bytes)
            words.second = simt::view<const uint32_t>(records + (16 * lane + 4 * j))[at / 4 + 128];
        if constexpr (kLayout.crumbs) {
            const Words2 crumbs = simt::view<const Words2>(records + 8 * lane)[(at + kCrumbsAt) / 8];
            words.crumbs[0] = crumbs.w[0];
            words.crumbs[1] = crumbs.w[1];
        }
        if constexpr (kLayout.bits) words.bits = simt::view<const uint32_t>(records + 4 * lane)[(at + kBitsAt) / 4];
        return words;
    }
    SIMT_DEVICE static void combine_pair(const PairWords& words, int j, uint32_t& low, uint32_t& high) {
        combine(words.first, words.second, words.crumbs, words.bits, j, low, high);
    }
    SIMT_DEVICE static void load_pair_of_groups(Global<const uint8_t> record, int lane, int j, uint32_t& low,
                                                uint32_t& high) {
        combine_pair(load_pair_words(record, 0, lane, j), j, low, high);
    }

    // The same as signed bytes: (code + 128 - offset) never borrows from the next byte, and flipping its top bit gives
    // the sign.
    SIMT_DEVICE static uint32_t signed_codes(uint32_t codes) {
        if constexpr (kSigned || kOffset == 0) return codes;
        return ((codes | 0x80808080u) - kOffset * 0x01010101u) ^ 0x80808080u;
    }

    // ---- scales

    // A lane's piece of the scales of a span.
    struct Piece {
        uint32_t w[4];
    };
    SIMT_DEVICE static Piece load_piece(Global<const uint8_t> span, int lane) {
        Piece piece{};
        if constexpr (kScaleBytes == 16) {
            const Words4 words = simt::load_once(simt::view<const Words4>(span) + lane);
            for (int i = 0; i < 4; ++i) piece.w[i] = words.w[i];
        } else if constexpr (kScaleBytes == 8) {
            const Words2 words = simt::load_once(simt::view<const Words2>(span) + lane);
            piece.w[0] = words.w[0];
            piece.w[1] = words.w[1];
        } else if constexpr (kScaleBytes == 4) {
            piece.w[0] = simt::load_once(simt::view<const uint32_t>(span) + lane);
        }
        return piece;
    }
    // The scales kept beside a row for a span; of scales of 128 columns, those of strand `strand`.
    SIMT_DEVICE static Piece load_side(Global<const uint8_t> span, int row, int strand) {
        Piece side{};
        if constexpr (kOf128) {
            const Words2 words = simt::load_once(simt::view<const Words2>(span + kSideAt) + (2 * row + strand / 4));
            side.w[0] = words.w[0];
            side.w[1] = words.w[1];
        } else if constexpr (kSideBytes == 16) {
            const Words4 words = simt::load_once(simt::view<const Words4>(span + kSideAt) + row);
            for (int i = 0; i < 4; ++i) side.w[i] = words.w[i];
        } else if constexpr (kSideBytes == 8) {
            const Words2 words = simt::load_once(simt::view<const Words2>(span + kSideAt) + row);
            side.w[0] = words.w[0];
            side.w[1] = words.w[1];
        }
        return side;
    }

    // Word i, without an array in memory even if i is not a constant.
    SIMT_DEVICE static uint32_t word_of(const Piece& piece, int i) {
        const uint32_t even = i < 2 ? piece.w[0] : piece.w[2], odd = i < 2 ? piece.w[1] : piece.w[3];
        return i % 2 == 0 ? even : odd;
    }
    SIMT_DEVICE static uint32_t half_word(const Piece& piece, int i) {
        return (i < 2 ? piece.w[0] : piece.w[1]) >> (16 * (i % 2)) & 0xFFFFu;
    }

    // The scales of record i of the span, except those in other lanes' pieces (six_bit, iq4_xs).
    SIMT_DEVICE static RawScales raw_scales(const Piece& piece, const Piece& side, int i) {
        RawScales raw;
        if constexpr (kScales == ScaleForm::f16 || kScales == ScaleForm::bf16) {
            raw.d = static_cast<uint16_t>(half_word(piece, i));
        } else if constexpr (kOf128) {
            raw.d = static_cast<uint16_t>(half_word(side, i));
        } else if constexpr (kScales == ScaleForm::f16_minimum) {
            raw.d = static_cast<uint16_t>(word_of(piece, i));
            raw.m = static_cast<uint16_t>(word_of(piece, i) >> 16);
        } else if constexpr (kScales == ScaleForm::six_bit) {
            const uint64_t bits = static_cast<uint64_t>(piece.w[1]) << 32 | piece.w[0];
            raw.packed = static_cast<uint32_t>(bits >> (12 * i)) & 0xFFFu;
        } else if constexpr (kScales == ScaleForm::iq4_xs) {
            raw.packed = piece.w[0] >> (6 * i) & 63u;
        } else if constexpr (kScales == ScaleForm::e8m0) {
            raw.packed = piece.w[0] >> (8 * i) & 0xFFu;
        } else {
            raw.packed = half_word(piece, i);
        }
        if constexpr (kScales == ScaleForm::int8) raw.d = static_cast<uint16_t>(half_word(side, i));
        if constexpr (kScales == ScaleForm::nibbles) {
            raw.d = static_cast<uint16_t>(word_of(side, i));
            raw.m = static_cast<uint16_t>(word_of(side, i) >> 16);
        }
        return raw;
    }

    // Gets the numbers in the pieces of the row's other strands by shuffles. All 32 lanes call it; the lane is 4 b + r.
    SIMT_DEVICE static void gather_superblock(const Piece& piece, int i, int row, RawScales& raw) {
        if constexpr (kScales == ScaleForm::six_bit) {
            const uint32_t mine = piece.w[1] >> 16;
            if constexpr (kHalves) {
                raw.d = static_cast<uint16_t>(simt::shuffle(mine, 4 * i + row));
            } else {
                raw.d = static_cast<uint16_t>(simt::shuffle(mine, 8 * i + row));
                raw.m = static_cast<uint16_t>(simt::shuffle(mine, 8 * i + 4 + row));
            }
        } else if constexpr (kScales == ScaleForm::iq4_xs) {
            const uint32_t mine = piece.w[0] >> 24;
            const uint32_t low = simt::shuffle(mine, 8 * i + row), high = simt::shuffle(mine, 8 * i + 4 + row);
            raw.d = static_cast<uint16_t>(low | high << 8);
        }
    }
    // The same from memory, by one thread.
    SIMT_DEVICE static void read_superblock(Global<const uint8_t> span, int i, int row, RawScales& raw) {
        if constexpr (kScales == ScaleForm::six_bit) {
            const Global<const uint16_t> halves = simt::view<const uint16_t>(span);
            raw.d = halves[4 * ((kHalves ? 4 : 8) * i + row) + 3];
            if constexpr (!kHalves) raw.m = halves[4 * (8 * i + 4 + row) + 3];
        } else if constexpr (kScales == ScaleForm::iq4_xs) {
            const uint32_t low = span[4 * (8 * i + row) + 3], high = span[4 * (8 * i + 4 + row) + 3];
            raw.d = static_cast<uint16_t>(low | high << 8);
        }
    }

    SIMT_DEVICE static BlockScales block_scales(const RawScales& raw) {
        BlockScales scales;
        if constexpr (kBf16Scales) {
            scales.dw = simt::as_float(static_cast<uint32_t>(raw.d) << 16);
        } else if constexpr (kScales == ScaleForm::f16 || kScales == ScaleForm::f16_minimum ||
                             kScales == ScaleForm::f16_of_128) {
            scales.dw = simt::f16_to_float(raw.d);
            if constexpr (kScales == ScaleForm::f16_minimum) scales.other = simt::f16_to_float(raw.m);
        } else if constexpr (kScales == ScaleForm::six_bit && kHalves) {
            scales.dw = simt::f16_to_float(raw.d);
            scales.scale[0] = static_cast<int32_t>(raw.packed & 63u) - 32;
            scales.scale[1] = static_cast<int32_t>(raw.packed >> 6) - 32;
        } else if constexpr (kScales == ScaleForm::six_bit) {
            scales.dw = simt::f16_to_float(raw.d) * static_cast<float>(raw.packed & 63u);       // exact
            scales.other = -(simt::f16_to_float(raw.m) * static_cast<float>(raw.packed >> 6));  // exact
        } else if constexpr (kScales == ScaleForm::int8) {
            scales.dw = simt::f16_to_float(raw.d);
            scales.scale[0] = static_cast<int8_t>(raw.packed & 0xFFu);
            scales.scale[1] = static_cast<int8_t>(raw.packed >> 8);
        } else if constexpr (kScales == ScaleForm::nibbles) {
            scales.dw = simt::f16_to_float(raw.d);
            scales.other = simt::f16_to_float(raw.m);
            for (int h = 0; h < 2; ++h) {
                scales.scale[h] = static_cast<int32_t>(raw.packed >> (8 * h) & 15u);
                scales.minimum[h] = static_cast<int32_t>(raw.packed >> (8 * h + 4) & 15u);
            }
        } else if constexpr (kScales == ScaleForm::iq4_xs) {
            scales.dw = simt::f16_to_float(raw.d) * static_cast<float>(static_cast<int32_t>(raw.packed) - 32);  // exact
        } else if constexpr (kScales == ScaleForm::e8m0) {
            scales.dw = e8m0_half_to_f32(static_cast<uint8_t>(raw.packed));
        } else if constexpr (kScales == ScaleForm::ue4m3) {
            scales.dw = ue4m3_to_f32(static_cast<uint8_t>(raw.packed & 0xFFu)) * 0.5f;
            scales.other = ue4m3_to_f32(static_cast<uint8_t>(raw.packed >> 8)) * 0.5f;
        }
        return scales;
    }

    // ---- the float step. `first` and `second` are dots of the halves of the block, or the whole dot in `first`.

    SIMT_DEVICE static float step(const BlockScales& w, const BlockInputs& x, int32_t first, int32_t second, float s) {
        if constexpr (kStep == Step::two_floats) {
            s = simt::fma(w.dw * x.d, static_cast<float>(first), s);
            return simt::fma(w.other * x.d, static_cast<float>(second), s);
        } else if constexpr (kHalves) {
            const int32_t sum = w.scale[0] * first + w.scale[1] * second;
            s = simt::fma(w.dw * x.d, static_cast<float>(sum), s);
            if constexpr (kStep == Step::halves) return s;
            const int32_t minimum = w.minimum[0] * x.half_sum[0] + w.minimum[1] * x.half_sum[1];
            return simt::fma(-(w.other * x.d), static_cast<float>(minimum), s);
        } else {
            return step_of_dot(w, x, static_cast<float>(first), s);
        }
    }
    // The steps plain and minimum, for a dot that is a float already.
    SIMT_DEVICE static float step_of_dot(const BlockScales& w, const BlockInputs& x, float dot, float s) {
        s = simt::fma(w.dw * x.d, dot, s);
        if constexpr (kStep == Step::plain) return s;
        return simt::fma(w.other, x.sx, s);
    }

    // The value of one weight: weight() of the format. `code` is signed, `half` of its block is 0 or 1.
    SIMT_DEVICE static float value(const BlockScales& w, int32_t code, int half) {
        if constexpr (kStep == Step::two_floats) return (half == 0 ? w.dw : w.other) * static_cast<float>(code);
        if constexpr (kHalves) {
            const float scaled = w.dw * static_cast<float>(w.scale[half]) * static_cast<float>(code);
            if constexpr (kStep == Step::halves) return scaled;
            return scaled - w.other * static_cast<float>(w.minimum[half]);
        }
        const float scaled = w.dw * static_cast<float>(code);
        if constexpr (kStep == Step::plain) return scaled;
        return scaled + w.other;
    }
};

// ---- float weights

// Widens columns 4 part .. 4 part + 3 of 16 bytes of elements exactly; E4M3 codes to their value / 256, as the binary16
// of the same bits (NaN stays NaN).
template <FormatId kId>
SIMT_DEVICE void widen_four(const Words4& words, int part, float (&w)[4]) {
    constexpr Elements kElements = weight_layout(kId).elements;
    for (int i = 0; i < 4; ++i) {
        if constexpr (kElements == Elements::f32) {
            w[i] = simt::as_float(words.w[i]);
        } else if constexpr (kElements == Elements::e4m3) {
            const uint32_t code = words.w[part] >> (8 * i) & 0xFFu;
            const uint32_t bits = (code & 0x80u) << 8 | (code & 0x7Fu) << 7;
            const float value = simt::f16_to_float(static_cast<uint16_t>(bits));
            w[i] = (code & 0x7Fu) == 0x7Fu ? simt::as_float(0x7FC00000u) : value;
        } else {
            const uint32_t bits = words.w[2 * part + i / 2] >> (16 * (i % 2)) & 0xFFFFu;
            w[i] = kElements == Elements::bf16 ? simt::as_float(bits << 16)
                                               : simt::f16_to_float(static_cast<uint16_t>(bits));
        }
    }
}

// Where record `record` of a group of float weights begins, and the factor of its elements in strand `strand`: 256 for
// E4M3, times the grid's scale; 1 for other formats, for which no multiplication is done.
template <FormatId kId>
struct FloatWeights {
    static constexpr WeightLayout kLayout = weight_layout(kId);
    static constexpr bool kHasFactor = kLayout.elements == Elements::e4m3, kGrid = kLayout.has_grid();
    static constexpr int kRecordBytes = kLayout.record_bytes(), kRecordsAt = kLayout.records_at();
    static constexpr int kSpanBytes = kLayout.span_bytes();

    SIMT_DEVICE static int64_t group_size(int64_t records) {
        return (records + kSpanRecords - 1) / kSpanRecords * kRecordsAt + records * kRecordBytes;
    }
    SIMT_DEVICE static int64_t record_at(int64_t record) {
        if constexpr (!kGrid) return record * kRecordBytes;
        return record / kSpanRecords * kSpanBytes + kRecordsAt + record % kSpanRecords * kRecordBytes;
    }
    SIMT_DEVICE static float factor(Global<const uint8_t> group, int64_t record, int strand) {
        if constexpr (!kGrid) return 256.0f;
        const auto span = simt::view<const float>(group + record / kSpanRecords * kSpanBytes);
        return span[record % kSpanRecords * 2 + strand / 4] * 256.0f;
    }
};

// Calls `use` with the format as a constant, if it is one of codes or one of float elements; returns false for others.
template <class Use>
bool with_quantized_format(FormatId id, Use&& use) {
    return with_format(id, [&]<FormatId kId>() {
        if constexpr (has_device_form(kId) && !weight_layout(kId).is_float()) {
            use.template operator()<kId>();
            return true;
        }
        return false;
    });
}
template <class Use>
bool with_float_format(FormatId id, Use&& use) {
    return with_format(id, [&]<FormatId kId>() {
        if constexpr (weight_layout(kId).is_float()) {
            use.template operator()<kId>();
            return true;
        }
        return false;
    });
}

}  // namespace invar::cuda
