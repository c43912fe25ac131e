// The kernel for many tokens on AMX int8. A tile product gives the dots of one strand's block for 16 tokens x 16 rows,
// as exact int32, and AVX-512 takes the float steps. Strands stay apart because the K of a tile product is one block:
// 32 columns, or 16 where a block has two scales. Rows are lanes here and K is walked strand by strand, so that a
// tile's running sums are 16 registers. It equals dot_quantized(). The including file chooses TileUnit, the tile
// instructions or their emulation; readers of records: linear_weights_avx512.h.
#pragma once

#include "cpu/linear_vector.h"
#include "cpu/linear_weights_avx512.h"

namespace invar {
namespace {

constexpr int kTileRows = 16;  // of weights: the lanes of a register
constexpr int kTileTokens = 16;
constexpr int kGroupsOfPanel = kTileRows / 4;
constexpr int64_t kPanelBytes = 28 * 1024;                                 // of 48 KiB of L1
constexpr int64_t kDotsAt = 32 * 1024;                                     // of the scratch: 2 slots x 2 halves x 1 KiB
constexpr int64_t kStrandsAt = 40 * 1024;                                  // [token][strand][16 rows]
constexpr int64_t kStrandsBytes = 8 * kTileRows * int64_t{sizeof(float)};  // of a token
constexpr int64_t kMostTokens = 128;                                       // of a chunk
static_assert(kStrandsAt + kMostTokens * kStrandsBytes <= kLinearScratchBytes);

// An unpacked block of 16 rows x 32 columns: 8 lines [k-group][row][4 columns] of signed codes, then vectors of scales.
// The rows of a line are in the order 0 2 4 6 1 3 5 7 8 10 12 14 9 11 13 15, which is cheap to make (rows_of_strands).
template <FormatId kId>
struct Unpacked {
    static constexpr int kParts = RecordOf<kId>::kHalves ? 2 : 1;
    static constexpr int kPartColumns = 32 / kParts;
    static constexpr int kScalesAt = 8 * kLineBytes;
    static constexpr int kBytes = kLineBytes * (8 + RecordOf<kId>::kScaleVectors);
    static constexpr int64_t kChunkRecords = kPanelBytes / (8 * kBytes);
};

// Turns registers of pairs (lanes: strands of the even row, then of the odd row) into registers of strands (lanes:
// rows).
[[gnu::always_inline]] inline void rows_of_strands(const Ints (&pairs)[8], Ints (&strands)[8]) {
    Ints quads[2][4];  // [rows 0-7, rows 8-15][strand % 4]; 128-bit lanes: even rows 0-3, 4-7, odd rows 0-3, 4-7
    INVAR_UNROLL for (int i = 0; i < 2; ++i) {
        const Ints low01 = _mm512_unpacklo_epi32(pairs[4 * i], pairs[4 * i + 1]);
        const Ints high01 = _mm512_unpackhi_epi32(pairs[4 * i], pairs[4 * i + 1]);
        const Ints low23 = _mm512_unpacklo_epi32(pairs[4 * i + 2], pairs[4 * i + 3]);
        const Ints high23 = _mm512_unpackhi_epi32(pairs[4 * i + 2], pairs[4 * i + 3]);
        quads[i][0] = _mm512_unpacklo_epi64(low01, low23);
        quads[i][1] = _mm512_unpackhi_epi64(low01, low23);
        quads[i][2] = _mm512_unpacklo_epi64(high01, high23);
        quads[i][3] = _mm512_unpackhi_epi64(high01, high23);
    }
    INVAR_UNROLL for (int s = 0; s < 4; ++s) {
        strands[s] = _mm512_shuffle_i32x4(quads[0][s], quads[1][s], 0x88);
        strands[4 + s] = _mm512_shuffle_i32x4(quads[0][s], quads[1][s], 0xDD);
    }
}

// Restores the order of the rows.
[[gnu::always_inline]] inline Floats rows_in_order(Floats lanes) {
    return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15), lanes);
}

// One record of the panel's four row groups. Groups past the last row repeat it.
struct PanelRecord {
    const uint8_t* record[kGroupsOfPanel];
    const uint8_t* side[kGroupsOfPanel];
};

// `out` is the place of strand 0; the other strands' blocks of the same record are `strand_bytes` apart.
template <FormatId kId, int kJ>
[[gnu::always_inline]] inline void unpack_codes(const PanelRecord& from, uint8_t* out, int64_t strand_bytes) {
    Ints pairs[8], strands[8];
    INVAR_UNROLL for (int p = 0; p < 8; ++p) {
        const uint8_t* record = from.record[p / 2];
        const Ints w = codes<kId, kJ>(record, p % 2, load_upper_planes<kId>(record, p % 2));
        pairs[p] = _mm512_sub_epi8(w, _mm512_set1_epi8(static_cast<char>(RecordOf<kId>::kOffset)));
    }
    rows_of_strands(pairs, strands);
    INVAR_UNROLL for (int s = 0; s < 8; ++s) {
        _mm512_store_si512(out + s * strand_bytes + kLineBytes * kJ, strands[s]);
    }
}

[[gnu::always_inline]] inline void unpack_scale(const Scales (&scales)[8], Floats Scales::*which, uint8_t* out,
                                                int64_t strand_bytes) {
    Ints pairs[8], strands[8];
    INVAR_UNROLL for (int p = 0; p < 8; ++p) pairs[p] = _mm512_castps_si512(scales[p].*which);
    rows_of_strands(pairs, strands);
    INVAR_UNROLL for (int s = 0; s < 8; ++s) _mm512_store_si512(out + s * strand_bytes, strands[s]);
}

template <FormatId kId>
[[gnu::always_inline]] inline void unpack_scales(const PanelRecord& from, uint8_t* out, int64_t strand_bytes) {
    constexpr Step kStep = RecordOf<kId>::kStep;
    Scales scales[8];
    INVAR_UNROLL for (int g = 0; g < kGroupsOfPanel; ++g)
        load_scales<kId>(from.record[g], from.side[g], scales + 2 * g);
    if constexpr (kStep == Step::two_floats) {
        unpack_scale(scales, &Scales::s0, out, strand_bytes);
        unpack_scale(scales, &Scales::s1, out + 64, strand_bytes);
    } else {
        unpack_scale(scales, &Scales::d, out, strand_bytes);
        if constexpr (kStep == Step::minimum) unpack_scale(scales, &Scales::m, out + 64, strand_bytes);
        if constexpr (kStep == Step::halves || kStep == Step::halves_minimum) {
            unpack_scale(scales, &Scales::s0, out + 64, strand_bytes);
            unpack_scale(scales, &Scales::s1, out + 128, strand_bytes);
        }
        if constexpr (kStep == Step::halves_minimum) {
            unpack_scale(scales, &Scales::m, out + 192, strand_bytes);
            unpack_scale(scales, &Scales::m0, out + 256, strand_bytes);
            unpack_scale(scales, &Scales::m1, out + 320, strand_bytes);
        }
    }
}

template <Step kStep>
[[gnu::always_inline]] inline Scales reload_scales(const uint8_t* in) {
    Scales s;
    if constexpr (kStep == Step::two_floats) {
        s.s0 = _mm512_load_ps(in);
        s.s1 = _mm512_load_ps(in + 64);
    } else {
        s.d = _mm512_load_ps(in);
        if constexpr (kStep == Step::minimum) s.m = _mm512_load_ps(in + 64);
        if constexpr (kStep == Step::halves || kStep == Step::halves_minimum) {
            s.s0 = _mm512_load_ps(in + 64);
            s.s1 = _mm512_load_ps(in + 128);
        }
        if constexpr (kStep == Step::halves_minimum) {
            s.m = _mm512_load_ps(in + 192);
            s.m0 = _mm512_load_ps(in + 256);
            s.m1 = _mm512_load_ps(in + 320);
        }
    }
    return s;
}

// Unpacks records [first, first + count) of the 16 rows from `first_group` on into panel [strand][record] of blocks.
template <FormatId kId>
void unpack_panel(const Product& p, int64_t first_group, int64_t first, int64_t count, uint8_t* panel) {
    using Record = RecordOf<kId>;
    const int64_t last_group = (p.rows + 3) / 4 - 1, strand_bytes = count * Unpacked<kId>::kBytes;
    for (int64_t k = 0; k < count; ++k) {
        PanelRecord from;
        for (int g = 0; g < kGroupsOfPanel; ++g) {
            const int64_t group = first_group + g < last_group ? first_group + g : last_group;
            const uint8_t* start = p.weights + group * p.group_bytes;
            from.side[g] = start + (first + k) * Record::kSideBytes;
            from.record[g] = start + p.sides_bytes + (first + k) * Record::kMainBytes;
        }
        uint8_t* const out = panel + k * Unpacked<kId>::kBytes;
        unpack_codes<kId, 0>(from, out, strand_bytes);
        unpack_codes<kId, 1>(from, out, strand_bytes);
        unpack_codes<kId, 2>(from, out, strand_bytes);
        unpack_codes<kId, 3>(from, out, strand_bytes);
        unpack_codes<kId, 4>(from, out, strand_bytes);
        unpack_codes<kId, 5>(from, out, strand_bytes);
        unpack_codes<kId, 6>(from, out, strand_bytes);
        unpack_codes<kId, 7>(from, out, strand_bytes);
        unpack_scales<kId>(from, out + Unpacked<kId>::kScalesAt, strand_bytes);
    }
}

// One strand of a tile, over the records of a chunk of K.
struct StrandJob {
    const uint8_t* panel;  // the strand's blocks
    const LaneRecord* x;   // token t: x + t * x_stride; q is in the order of columns (ActivationForm::strands)
    int64_t x_stride, records;
    int strand;
    int32_t* dots;   // [slot][half][token][row]
    float* strands;  // token t: strands + t * kStrandsBytes / 4
    bool first_chunk;
};

// Tiles kFirst, + 1 and + 2 hold dots, activations and weights. Two blocks take turns, each with its own tiles.
template <FormatId kId, int kSlot>
[[gnu::always_inline]] inline void multiply_block(const StrandJob& job, int64_t k) {
    constexpr int kFirst = 3 * kSlot, kColumns = Unpacked<kId>::kPartColumns;
    INVAR_UNROLL for (int part = 0; part < Unpacked<kId>::kParts; ++part) {
        TileUnit::zero<kFirst>();
        TileUnit::load<kFirst + 1>(job.x[k].q + 32 * job.strand + kColumns * part,
                                   job.x_stride * int64_t{sizeof(LaneRecord)});
        TileUnit::load<kFirst + 2>(job.panel + k * Unpacked<kId>::kBytes + kLineBytes / 4 * kColumns * part,
                                   kLineBytes);
        TileUnit::multiply_signed<kFirst, kFirst + 1, kFirst + 2>();
        TileUnit::store<kFirst>(job.dots + 256 * (2 * kSlot + part), kLineBytes);
    }
}

// The float step of a block for one token, with rows as lanes: add_block and add_halves of linear_weights_avx512.h.
template <FormatId kId>
[[gnu::always_inline]] inline Floats add_token(Floats s, const Scales& w, const LaneRecord& x, int strand,
                                               const int32_t* dots) {
    constexpr Step kStep = RecordOf<kId>::kStep;
    const Floats d = _mm512_set1_ps(x.d[strand]), idot0 = _mm512_cvtepi32_ps(_mm512_load_si512(dots));
    if constexpr (kStep == Step::plain || kStep == Step::minimum) {
        s = _mm512_fmadd_ps(_mm512_mul_ps(w.d, d), idot0, s);
        if constexpr (kStep == Step::minimum) s = _mm512_fmadd_ps(w.m, _mm512_set1_ps(x.sx[strand]), s);
    } else {
        const Floats idot1 = _mm512_cvtepi32_ps(_mm512_load_si512(dots + 256));
        if constexpr (kStep == Step::two_floats) {
            s = _mm512_fmadd_ps(_mm512_mul_ps(w.s0, d), idot0, s);
            return _mm512_fmadd_ps(_mm512_mul_ps(w.s1, d), idot1, s);
        }
        const Floats zero = _mm512_setzero_ps();
        s = _mm512_fmadd_ps(_mm512_mul_ps(w.d, d), _mm512_fmadd_ps(w.s1, idot1, _mm512_fmadd_ps(w.s0, idot0, zero)), s);
        if constexpr (kStep == Step::halves_minimum) {
            const Floats sum0 = _mm512_cvtepi32_ps(_mm512_set1_epi32(x.half_sum[0][strand]));
            const Floats sum1 = _mm512_cvtepi32_ps(_mm512_set1_epi32(x.half_sum[1][strand]));
            const Floats imin = _mm512_fmadd_ps(w.m1, sum1, _mm512_fmadd_ps(w.m0, sum0, zero));
            s = _mm512_fnmadd_ps(_mm512_mul_ps(w.m, d), imin, s);
        }
    }
    return s;
}

template <FormatId kId>
[[gnu::always_inline]] inline void add_block_of_tile(Floats (&s)[kTileTokens], const StrandJob& job, int64_t k,
                                                     int slot) {
    const Scales w =
        reload_scales<RecordOf<kId>::kStep>(job.panel + k * Unpacked<kId>::kBytes + Unpacked<kId>::kScalesAt);
    INVAR_UNROLL for (int t = 0; t < kTileTokens; ++t) {
        s[t] = add_token<kId>(s[t], w, job.x[t * job.x_stride + k], job.strand, job.dots + 512 * slot + 16 * t);
    }
}

template <FormatId kId>
[[gnu::noinline]] void strand_of_tile(const StrandJob& in) {
    const StrandJob job = in;  // its numbers stay in registers
    constexpr int64_t kStride = kStrandsBytes / int64_t{sizeof(float)};
    Floats s[kTileTokens];
    INVAR_UNROLL for (int t = 0; t < kTileTokens; ++t) {
        s[t] = job.first_chunk ? _mm512_setzero_ps() : _mm512_load_ps(job.strands + t * kStride);
    }
    int64_t k = 0;
    for (; k + 2 <= job.records; k += 2) {
        multiply_block<kId, 0>(job, k);
        multiply_block<kId, 1>(job, k + 1);
        add_block_of_tile<kId>(s, job, k, 0);
        add_block_of_tile<kId>(s, job, k + 1, 1);
    }
    if (k < job.records) {
        multiply_block<kId, 0>(job, k);
        add_block_of_tile<kId>(s, job, k, 0);
    }
    INVAR_UNROLL for (int t = 0; t < kTileTokens; ++t) _mm512_store_ps(job.strands + t * kStride, s[t]);
}

// The same for fewer tokens than a tile has; their strands stay in memory.
template <FormatId kId>
void strand_of_few(const StrandJob& job, int64_t tokens) {
    constexpr int64_t kStride = kStrandsBytes / int64_t{sizeof(float)};
    for (int64_t k = 0; k < job.records; ++k) {
        multiply_block<kId, 0>(job, k);
        const Scales w =
            reload_scales<RecordOf<kId>::kStep>(job.panel + k * Unpacked<kId>::kBytes + Unpacked<kId>::kScalesAt);
        for (int64_t t = 0; t < tokens; ++t) {
            float* const strand = job.strands + t * kStride;
            const Floats s = job.first_chunk && k == 0 ? _mm512_setzero_ps() : _mm512_load_ps(strand);
            _mm512_store_ps(strand,
                            add_token<kId>(s, w, job.x[t * job.x_stride + k], job.strand, job.dots + kTileRows * t));
        }
    }
}

struct Chunk {  // of tokens and of K
    int64_t first_token, tokens, first_record, records;

    int64_t tiles() const { return (tokens + kTileTokens - 1) / kTileTokens; }
    int64_t tile_tokens() const { return tokens < kTileTokens ? tokens : kTileTokens; }
    // The last tile ends with the last token. It overlaps the one before, and both give the same bits.
    int64_t token_of_tile(int64_t tile) const {
        const int64_t last = tokens - tile_tokens();
        return first_token + (tile * kTileTokens < last ? tile * kTileTokens : last);
    }
};

[[gnu::always_inline]] inline float* strands_of_tile(uint8_t* scratch, int64_t tile) {
    return reinterpret_cast<float*>(scratch + kStrandsAt + tile * kTileTokens * kStrandsBytes);
}

// Leaves the strands of all tiles' tokens in the scratch memory.
template <FormatId kId>
void tiles_of_panel(const Product& p, const Chunk& chunk, uint8_t* scratch) {
    for (int64_t tile = 0; tile < chunk.tiles(); ++tile) {
        for (int strand = 0; strand < 8; ++strand) {
            const StrandJob job{.panel = scratch + strand * chunk.records * Unpacked<kId>::kBytes,
                                .x = p.x + chunk.token_of_tile(tile) * p.records + chunk.first_record,
                                .x_stride = p.records,
                                .records = chunk.records,
                                .strand = strand,
                                .dots = reinterpret_cast<int32_t*>(scratch + kDotsAt),
                                .strands = strands_of_tile(scratch, tile) + kTileRows * strand,
                                .first_chunk = chunk.first_record == 0};
            if (chunk.tile_tokens() == kTileTokens) {
                strand_of_tile<kId>(job);
            } else {
                strand_of_few<kId>(job, chunk.tile_tokens());
            }
        }
    }
}

// Adds the strands of each token in order and stores the sums at the rows' places.
template <FormatId kId>
void store_panel(const Product& p, const Chunk& chunk, int64_t first_row, int64_t last_row, uint8_t* scratch) {
    const int64_t left = last_row - first_row;
    const auto mask = static_cast<__mmask16>(left >= kTileRows ? 0xFFFF : (1 << left) - 1);
    for (int64_t tile = 0; tile < chunk.tiles(); ++tile) {
        for (int64_t t = 0; t < chunk.tile_tokens(); ++t) {
            const float* s = strands_of_tile(scratch, tile) + 8 * kTileRows * t;
            Floats y = _mm512_load_ps(s);
            INVAR_UNROLL for (int strand = 1; strand < 8; ++strand) {
                y = _mm512_add_ps(y, _mm512_load_ps(s + kTileRows * strand));
            }
            float* const out = p.out + (chunk.token_of_tile(tile) + t) * p.out_stride + first_row;
            _mm512_mask_storeu_ps(out, mask, rows_in_order(y));
        }
    }
}

template <FormatId kId>
void tiles(const LinearTask& task) {
    if (task.tokens == 0) return;
    const Product p = product_of<kId>(task);
    const int64_t k_chunks = (p.records + Unpacked<kId>::kChunkRecords - 1) / Unpacked<kId>::kChunkRecords;
    const int64_t most_records = (p.records + k_chunks - 1) / k_chunks;
    const int64_t token_chunks = (task.tokens + kMostTokens - 1) / kMostTokens;
    uint8_t* const scratch = reinterpret_cast<uint8_t*>(task.worker_scratch);
    const int tokens_of_tile = task.tokens < kTileTokens ? static_cast<int>(task.tokens) : kTileTokens;
    TileUnit::configure(tokens_of_tile, Unpacked<kId>::kPartColumns, kTileRows);
    Chunk chunk{};
    for (int64_t turn = 0; turn < token_chunks; ++turn, chunk.first_token += chunk.tokens) {
        // Chunks are nearly equal, and below 16 only if the task is: 129 become 65 and 64.
        chunk.tokens = (task.tokens - chunk.first_token + token_chunks - turn - 1) / (token_chunks - turn);
        for (int64_t row = task.first_row; row < task.last_row; row += kTileRows) {
            for (int64_t record = 0; record < p.records; record += most_records) {
                chunk.first_record = record;
                chunk.records = p.records - record < most_records ? p.records - record : most_records;
                unpack_panel<kId>(p, row / 4, record, chunk.records, scratch);
                tiles_of_panel<kId>(p, chunk, scratch);
            }
            store_panel<kId>(p, chunk, row, task.last_row, scratch);
        }
    }
    TileUnit::release();
}

constexpr auto kTiles = quantized_table([]<FormatId kId>() -> RunLinear { return tiles<kId>; });

}  // namespace
}  // namespace invar
