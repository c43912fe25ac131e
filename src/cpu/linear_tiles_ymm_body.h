// The kernel for many tokens with 256-bit registers, for AVX2 and AVX-VNNI. A panel of 4 rows x a chunk of K is
// unpacked into the L1 cache; then tiles run over it, in a shape that IntegerDot sets (with 16 registers a larger tile
// spills). K is split into chunks if a panel would not fit into L1; the strands are then saved and restored, which is
// exact. It equals dot_quantized(). IntegerDot, which the including file chooses, multiplies the bytes; readers and
// steps: linear_weights_ymm.h.
#pragma once

#include "cpu/linear_vector.h"
#include "cpu/linear_weights_ymm.h"

namespace invar {
namespace {

constexpr int64_t kPanelBytes = 25 * 1024;  // of 32 KiB of L1; the rest is for activations
constexpr int64_t kStrandsAt = 32 * 1024;   // of the scratch; the panel is below
constexpr int64_t kMostTokens = 96;         // per chunk: their activations stay in L2
constexpr int kRowBytes = 32;               // of a register
static_assert(kStrandsAt + kMostTokens * 4 * kRowBytes <= kLinearScratchBytes);

// An unpacked record of a row: 8 k-groups of bytes, then the vectors of its scales.
template <FormatId kId>
struct Unpacked {
    static constexpr int kBytes = kRowBytes * (8 + RecordOf<kId>::kScaleVectors);
    static constexpr int64_t kChunkRecords = kPanelBytes / (4 * kBytes);
};

[[gnu::always_inline]] inline void store_row(uint8_t* p, Ints v) { _mm256_store_si256(reinterpret_cast<Ints*>(p), v); }
[[gnu::always_inline]] inline void store_row(uint8_t* p, Floats v) { _mm256_store_ps(reinterpret_cast<float*>(p), v); }
[[gnu::always_inline]] inline Floats load_floats(const uint8_t* p) {
    return _mm256_load_ps(reinterpret_cast<const float*>(p));
}

template <Step kStep>
[[gnu::always_inline]] inline void store_scales(const Scales& s, uint8_t* out) {
    if constexpr (kStep == Step::two_floats) {
        store_row(out, s.s0);
        store_row(out + 32, s.s1);
    } else {
        store_row(out, s.d);
        if constexpr (kStep == Step::minimum) store_row(out + 32, s.m);
        if constexpr (kStep == Step::halves || kStep == Step::halves_minimum) {
            store_row(out + 32, s.s0);
            store_row(out + 64, s.s1);
        }
        if constexpr (kStep == Step::halves_minimum) {
            store_row(out + 96, s.m);
            store_row(out + 128, s.m0);
            store_row(out + 160, s.m1);
        }
    }
}

template <Step kStep>
[[gnu::always_inline]] inline Scales reload_scales(const uint8_t* in) {
    Scales s;
    if constexpr (kStep == Step::two_floats) {
        s.s0 = load_floats(in);
        s.s1 = load_floats(in + 32);
    } else {
        s.d = load_floats(in);
        if constexpr (kStep == Step::minimum) s.m = load_floats(in + 32);
        if constexpr (kStep == Step::halves || kStep == Step::halves_minimum) {
            s.s0 = load_floats(in + 32);
            s.s1 = load_floats(in + 64);
        }
        if constexpr (kStep == Step::halves_minimum) {
            s.m = load_floats(in + 96);
            s.m0 = load_floats(in + 128);
            s.m1 = load_floats(in + 160);
        }
    }
    return s;
}

template <FormatId kId>
[[gnu::always_inline]] inline void unpack_row(const uint8_t* record, int row, uint8_t* out) {
    const UpperPlanes planes = load_upper_planes<kId>(record, row);
    store_row(out, codes<kId, 0>(record, row, planes));
    store_row(out + 128, codes<kId, 4>(record, row, planes));
    store_row(out + 32, codes<kId, 1>(record, row, planes));
    store_row(out + 160, codes<kId, 5>(record, row, planes));
    store_row(out + 64, codes<kId, 2>(record, row, planes));
    store_row(out + 192, codes<kId, 6>(record, row, planes));
    store_row(out + 96, codes<kId, 3>(record, row, planes));
    store_row(out + 224, codes<kId, 7>(record, row, planes));
}

template <FormatId kId>
void unpack_group(const Product& p, int64_t group, int64_t first, int64_t count, uint8_t* panel) {
    using Record = RecordOf<kId>;
    const uint8_t* side = p.weights + group * p.group_bytes;
    const uint8_t* record = side + p.sides_bytes + first * Record::kMainBytes;
    side += first * Record::kSideBytes;
    for (int64_t k = 0; k < count; ++k, record += Record::kMainBytes, side += Record::kSideBytes) {
        INVAR_UNROLL for (int i = 0; i < Record::kMainBytes / kLineBytes; ++i) {
            _mm_prefetch(reinterpret_cast<const char*>(record + p.group_bytes + kLineBytes * i), _MM_HINT_T1);
        }
        INVAR_UNROLL for (int row = 0; row < 4; ++row) {
            uint8_t* const out = panel + (row * count + k) * Unpacked<kId>::kBytes;
            unpack_row<kId>(record, row, out);
            store_scales<Record::kStep>(load_scales<kId>(record, side, row), out + 8 * kRowBytes);
            loads_stay_below();
        }
    }
}

// A tile's work: rows of the panel x tokens, over the records of a chunk of K.
struct TileJob {
    const uint8_t* panel;  // of the tile's first row
    int64_t row_bytes;
    const LaneRecord* x;  // token t: x + t * x_stride
    int64_t x_stride, records;
    float* strands;  // token t, row r of the tile: strands + (4 t + r) * 8
    bool first_chunk;
};

// Dots of the k-groups kFirstJ .. kFirstJ + kGroups - 1.
template <FormatId kId, int kR, int kT, int kFirstJ, int kGroups>
[[gnu::always_inline]] inline void add_groups(const TileJob& job, const uint8_t* panel, const LaneRecord* x,
                                              Ints (&id)[kR][kT]) {
    constexpr int kHalf = kFirstJ / 4;
    INVAR_UNROLL for (int t = 0; t < kT; ++t) {
        const Ints first = dot_start<kId>(x[t * job.x_stride], kHalf);
        INVAR_UNROLL for (int r = 0; r < kR; ++r) id[r][t] = first;
    }
    constexpr int kRun = IntegerDot::groups_of_run<kId>();
    INVAR_UNROLL for (int run = kFirstJ; run < kFirstJ + kGroups; run += kRun) {
        Ints partial[kR][kT];
        INVAR_UNROLL for (int j = run; j < run + kRun; ++j) {
            Ints q[kT];
            INVAR_UNROLL for (int t = 0; t < kT; ++t) q[t] = load_row(x[t * job.x_stride].q + 32 * j);
            INVAR_UNROLL for (int r = 0; r < kR; ++r) {
                const Ints w = load_row(panel + r * job.row_bytes + kRowBytes * j);
                INVAR_UNROLL for (int t = 0; t < kT; ++t) {
                    if (j == run) {
                        IntegerDot::add<kId, true>(id[r][t], partial[r][t], w, q[t]);
                    } else {
                        IntegerDot::add<kId, false>(id[r][t], partial[r][t], w, q[t]);
                    }
                }
            }
        }
        INVAR_UNROLL for (int r = 0; r < kR; ++r) {
            INVAR_UNROLL for (int t = 0; t < kT; ++t) IntegerDot::end_run(id[r][t], partial[r][t]);
        }
    }
}

template <FormatId kId, int kR, int kT>
[[gnu::always_inline]] inline void add_record(const TileJob& job, const uint8_t* panel, const LaneRecord* x,
                                              Floats (&strands)[kR][kT]) {
    constexpr Step kStep = RecordOf<kId>::kStep;
    constexpr int kGroups = RecordOf<kId>::kHalves ? 4 : 8;
    Ints id[kR][kT];
    Floats first_sums[kR][kT];
    add_groups<kId, kR, kT, 0, kGroups>(job, panel, x, id);
    INVAR_UNROLL for (int r = 0; r < kR; ++r) {
        const Scales s = reload_scales<kStep>(panel + r * job.row_bytes + 8 * kRowBytes);
        INVAR_UNROLL for (int t = 0; t < kT; ++t) {
            const LaneRecord& token = x[t * job.x_stride];
            if constexpr (kStep == Step::two_floats) {
                strands[r][t] = add_float_half(strands[r][t], s.s0, token, id[r][t]);
            } else if constexpr (RecordOf<kId>::kHalves) {
                first_sums[r][t] = first_half_sum(s, id[r][t]);
            } else {
                strands[r][t] = add_block<kStep>(strands[r][t], s, token, id[r][t]);
            }
        }
    }
    if constexpr (RecordOf<kId>::kHalves) {
        add_groups<kId, kR, kT, 4, 4>(job, panel, x, id);
        INVAR_UNROLL for (int r = 0; r < kR; ++r) {
            const Scales s = reload_scales<kStep>(panel + r * job.row_bytes + 8 * kRowBytes);
            INVAR_UNROLL for (int t = 0; t < kT; ++t) {
                const LaneRecord& token = x[t * job.x_stride];
                if constexpr (kStep == Step::two_floats) {
                    strands[r][t] = add_float_half(strands[r][t], s.s1, token, id[r][t]);
                } else {
                    strands[r][t] = add_halves<kStep>(strands[r][t], s, token, first_sums[r][t], id[r][t]);
                }
            }
        }
    }
}

template <FormatId kId, int kR, int kT>
[[gnu::noinline]] void tile(const TileJob& in) {
    const TileJob job = in;  // its numbers stay in registers
    Floats strands[kR][kT];
    INVAR_UNROLL for (int r = 0; r < kR; ++r) {
        INVAR_UNROLL for (int t = 0; t < kT; ++t) {
            strands[r][t] = job.first_chunk ? _mm256_setzero_ps() : _mm256_load_ps(job.strands + (4 * t + r) * 8);
        }
    }
    const uint8_t* panel = job.panel;
    const LaneRecord* x = job.x;
    for (int64_t k = 0; k < job.records; ++k, panel += Unpacked<kId>::kBytes, ++x) {
        add_record<kId>(job, panel, x, strands);
    }
    INVAR_UNROLL for (int r = 0; r < kR; ++r) {
        INVAR_UNROLL for (int t = 0; t < kT; ++t) _mm256_store_ps(job.strands + (4 * t + r) * 8, strands[r][t]);
    }
}

struct Chunk {  // of tokens and of K
    int64_t first_token, tokens, first_record, records;
};

// Leaves the strands of all rows and tokens in `strands` [token][row][8].
template <FormatId kId>
void tiles_of_panel(const Product& p, const Chunk& chunk, const uint8_t* panel, float* strands) {
    constexpr int kR = IntegerDot::tile_rows<kId>(), kT = IntegerDot::tile_tokens<kId>();
    const int64_t row_bytes = chunk.records * Unpacked<kId>::kBytes;
    for (int64_t t = 0; t < chunk.tokens; t += kT) {
        for (int r = 0; r < 4; r += kR) {
            const TileJob job{.panel = panel + r * row_bytes,
                              .row_bytes = row_bytes,
                              .x = p.x + (chunk.first_token + t) * p.records + chunk.first_record,
                              .x_stride = p.records,
                              .records = chunk.records,
                              .strands = strands + (4 * t + r) * 8,
                              .first_chunk = chunk.first_record == 0};
            static_assert(kT <= 2, "what is left of the tokens is one");
            if (t + kT <= chunk.tokens) {
                tile<kId, kR, kT>(job);
            } else {
                tile<kId, kR, 1>(job);
            }
        }
    }
}

template <FormatId kId>
void tiles(const LinearTask& task) {
    const Product p = product_of<kId>(task);
    const int64_t k_chunks = (p.records + Unpacked<kId>::kChunkRecords - 1) / Unpacked<kId>::kChunkRecords;
    const int64_t most_records = (p.records + k_chunks - 1) / k_chunks;
    uint8_t* const panel = reinterpret_cast<uint8_t*>(task.worker_scratch);
    float* const strands = reinterpret_cast<float*>(panel + kStrandsAt);
    Chunk chunk{};
    for (; chunk.first_token < task.tokens; chunk.first_token += kMostTokens) {
        const int64_t left = task.tokens - chunk.first_token;
        chunk.tokens = left < kMostTokens ? left : kMostTokens;
        for (int64_t group = task.first_row / 4; 4 * group < task.last_row; ++group) {
            for (int64_t record = 0; record < p.records; record += most_records) {
                chunk.first_record = record;
                chunk.records = p.records - record < most_records ? p.records - record : most_records;
                unpack_group<kId>(p, group, record, chunk.records, panel);
                tiles_of_panel<kId>(p, chunk, panel, strands);
            }
            for (int64_t t = 0; t < chunk.tokens; ++t) {
                const float* s = strands + 32 * t;
                const __m128 y = strand_totals(_mm256_load_ps(s), _mm256_load_ps(s + 8), _mm256_load_ps(s + 16),
                                               _mm256_load_ps(s + 24));
                store_results(p, chunk.first_token + t, group, y);
            }
        }
    }
}

constexpr auto kTiles = quantized_table([]<FormatId kId>() -> RunLinear { return tiles<kId>; });

}  // namespace

}  // namespace invar
