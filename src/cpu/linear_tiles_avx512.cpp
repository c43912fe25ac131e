// The kernel for prompts on AVX-512 VNNI. A panel of 8 rows x a chunk of K is unpacked into the L1 cache; then tiles of
// 4 row pairs x a few tokens run over it with all integer dots and strands in registers. Tokens come in chunks whose
// activations stay in L2. K is split into chunks if a panel would not fit into L1; the strands are then saved and
// restored, which is exact. It equals dot_quantized(). The readers and steps: linear_weights_avx512.h. Figures:
// docs/kernels.md.
#include "cpu/linear_vector.h"
#include "cpu/linear_weights_avx512.h"

namespace invar {
namespace {

constexpr int kPanelPairs = 4;
constexpr int64_t kPanelBytes = 27 * 1024;  // of 48 KiB of L1; the rest is for activations
constexpr int64_t kStrandsAt = 32 * 1024;   // of the scratch; the panel is below
constexpr int64_t kMostTokens = 144;        // of a chunk
constexpr int64_t kBlockGroups = 16;        // row groups that take turns with the chunks of K
static_assert(kStrandsAt + kBlockGroups * 2 * kLineBytes * kMostTokens <= kLinearScratchBytes);

// An unpacked record of a row pair: 8 k-groups of bytes, then the vectors of its scales.
template <FormatId kId>
struct Unpacked {
    static constexpr int kBytes = kLineBytes * (8 + RecordOf<kId>::kScaleVectors);
    static constexpr int64_t kChunkRecords = kPanelBytes / (kPanelPairs * kBytes);
};

[[gnu::always_inline]] inline void store_line(uint8_t* p, Ints v) { _mm512_store_si512(p, v); }
[[gnu::always_inline]] inline void store_line(uint8_t* p, Floats v) { _mm512_store_ps(p, v); }
[[gnu::always_inline]] inline Floats load_floats(const uint8_t* p) { return _mm512_load_ps(p); }

template <Step kStep>
[[gnu::always_inline]] inline void store_scales(const Scales& s, uint8_t* out) {
    if constexpr (kStep == Step::two_floats) {
        store_line(out, s.s0);
        store_line(out + 64, s.s1);
    } else {
        store_line(out, s.d);
        if constexpr (kStep == Step::minimum) store_line(out + 64, s.m);
        if constexpr (kStep == Step::halves || kStep == Step::halves_minimum) {
            store_line(out + 64, s.s0);
            store_line(out + 128, s.s1);
        }
        if constexpr (kStep == Step::halves_minimum) {
            store_line(out + 192, s.m);
            store_line(out + 256, s.m0);
            store_line(out + 320, s.m1);
        }
    }
}

template <Step kStep>
[[gnu::always_inline]] inline Scales reload_scales(const uint8_t* in) {
    Scales s;
    if constexpr (kStep == Step::two_floats) {
        s.s0 = load_floats(in);
        s.s1 = load_floats(in + 64);
    } else {
        s.d = load_floats(in);
        if constexpr (kStep == Step::minimum) s.m = load_floats(in + 64);
        if constexpr (kStep == Step::halves || kStep == Step::halves_minimum) {
            s.s0 = load_floats(in + 64);
            s.s1 = load_floats(in + 128);
        }
        if constexpr (kStep == Step::halves_minimum) {
            s.m = load_floats(in + 192);
            s.m0 = load_floats(in + 256);
            s.m1 = load_floats(in + 320);
        }
    }
    return s;
}

template <FormatId kId>
[[gnu::always_inline]] inline void unpack_pair(const uint8_t* record, int pair, uint8_t* out) {
    const UpperPlanes planes = load_upper_planes<kId>(record, pair);
    store_line(out, codes<kId, 0>(record, pair, planes));
    store_line(out + 256, codes<kId, 4>(record, pair, planes));
    store_line(out + 64, codes<kId, 1>(record, pair, planes));
    store_line(out + 320, codes<kId, 5>(record, pair, planes));
    store_line(out + 128, codes<kId, 2>(record, pair, planes));
    store_line(out + 384, codes<kId, 6>(record, pair, planes));
    store_line(out + 192, codes<kId, 3>(record, pair, planes));
    store_line(out + 448, codes<kId, 7>(record, pair, planes));
}

// Unpacks records first .. first + count - 1 of a row group into two rows of the panel, and fetches what is
// `next_bytes` ahead into L2.
template <FormatId kId>
void unpack_group(const Product& p, int64_t group, int64_t first, int64_t count, int64_t next_bytes, uint8_t* panel,
                  int64_t pair_bytes) {
    using Record = RecordOf<kId>;
    const uint8_t* side = p.weights + group * p.group_bytes;
    const uint8_t* record = side + p.sides_bytes + first * Record::kMainBytes;
    side += first * Record::kSideBytes;
    for (int64_t k = 0; k < count; ++k, record += Record::kMainBytes, side += Record::kSideBytes) {
        INVAR_UNROLL for (int i = 0; i < Record::kMainBytes / kLineBytes; ++i) {
            _mm_prefetch(reinterpret_cast<const char*>(record + next_bytes + kLineBytes * i), _MM_HINT_T1);
        }
        Scales scales[2];
        load_scales<kId>(record, side, scales);
        INVAR_UNROLL for (int pair = 0; pair < 2; ++pair) {
            uint8_t* const out = panel + pair * pair_bytes + k * Unpacked<kId>::kBytes;
            unpack_pair<kId>(record, pair, out);
            store_scales<Record::kStep>(scales[pair], out + 8 * kLineBytes);
            loads_stay_below();
        }
    }
}

// A tile's work: pairs of the panel x tokens, over the records of a chunk of K.
struct TileJob {
    const uint8_t* panel;
    int64_t pair_bytes;
    const LaneRecord* x;  // token t: x + t * x_stride
    int64_t x_stride, records;
    float* strands;  // [tokens][pairs][16], between chunks of K
    bool first_chunk, last_chunk;
};

template <int kP, int kT, int kFirstJ, int kGroups>
[[gnu::always_inline]] inline void add_groups(const TileJob& job, const uint8_t* panel, const LaneRecord* x,
                                              Ints (&id)[kP][kT]) {
    INVAR_UNROLL for (int j = kFirstJ; j < kFirstJ + kGroups; ++j) {
        Ints w[kP];
        INVAR_UNROLL for (int a = 0; a < kP; ++a) w[a] = load_line(panel + a * job.pair_bytes + kLineBytes * j);
        INVAR_UNROLL for (int t = 0; t < kT; ++t) {
            const Ints q = both_rows(static_cast<const void*>(x[t * job.x_stride].q + 32 * j));
            INVAR_UNROLL for (int a = 0; a < kP; ++a) id[a][t] = _mm512_dpbusd_epi32(id[a][t], w[a], q);
        }
    }
}

template <FormatId kId, int kP, int kT>
[[gnu::always_inline]] inline void start_dots(const TileJob& job, const LaneRecord* x, int half, Ints (&id)[kP][kT]) {
    INVAR_UNROLL for (int t = 0; t < kT; ++t) {
        const Ints first = dot_start<kId>(x[t * job.x_stride], half);
        INVAR_UNROLL for (int a = 0; a < kP; ++a) id[a][t] = first;
    }
}

// Multiplies one record of a format with one scale per block.
template <FormatId kId, int kP, int kT>
[[gnu::always_inline]] inline void add_whole_blocks(const TileJob& job, const uint8_t* panel, const LaneRecord* x,
                                                    Floats (&strands)[kP][kT]) {
    constexpr Step kStep = RecordOf<kId>::kStep;
    Ints id[kP][kT];
    start_dots<kId>(job, x, 0, id);
    add_groups<kP, kT, 0, 8>(job, panel, x, id);
    INVAR_UNROLL for (int t = 0; t < kT; ++t) {
        INVAR_UNROLL for (int a = 0; a < kP; ++a) {
            const Scales s = reload_scales<kStep>(panel + a * job.pair_bytes + 8 * kLineBytes);
            strands[a][t] = add_block<kStep>(strands[a][t], s, x[t * job.x_stride], id[a][t]);
        }
    }
}

// Multiplies one record of a format with two scales per block.
template <FormatId kId, int kP, int kT>
[[gnu::always_inline]] inline void add_half_blocks(const TileJob& job, const uint8_t* panel, const LaneRecord* x,
                                                   Floats (&strands)[kP][kT]) {
    constexpr Step kStep = RecordOf<kId>::kStep;
    Floats first_sums[kP][kT];
    {
        Ints id[kP][kT];
        start_dots<kId>(job, x, 0, id);
        add_groups<kP, kT, 0, 4>(job, panel, x, id);
        INVAR_UNROLL for (int a = 0; a < kP; ++a) {
            const Scales s = reload_scales<kStep>(panel + a * job.pair_bytes + 8 * kLineBytes);
            INVAR_UNROLL for (int t = 0; t < kT; ++t) {
                if constexpr (kStep == Step::two_floats) {
                    strands[a][t] = add_float_half(strands[a][t], s.s0, x[t * job.x_stride], id[a][t]);
                } else {
                    first_sums[a][t] = first_half_sum(s, id[a][t]);
                }
            }
        }
    }
    Ints id[kP][kT];
    start_dots<kId>(job, x, 1, id);
    add_groups<kP, kT, 4, 4>(job, panel, x, id);
    INVAR_UNROLL for (int a = 0; a < kP; ++a) {
        const Scales s = reload_scales<kStep>(panel + a * job.pair_bytes + 8 * kLineBytes);
        INVAR_UNROLL for (int t = 0; t < kT; ++t) {
            if constexpr (kStep == Step::two_floats) {
                strands[a][t] = add_float_half(strands[a][t], s.s1, x[t * job.x_stride], id[a][t]);
            } else {
                strands[a][t] = add_halves<kStep>(strands[a][t], s, x[t * job.x_stride], first_sums[a][t], id[a][t]);
            }
        }
    }
}

template <FormatId kId, int kP, int kT>
[[gnu::noinline]] void tile(const TileJob& job, const Product& p, int64_t token, int64_t group) {
    Floats strands[kP][kT];
    INVAR_UNROLL for (int t = 0; t < kT; ++t) {
        INVAR_UNROLL for (int a = 0; a < kP; ++a) {
            strands[a][t] = job.first_chunk ? _mm512_setzero_ps() : _mm512_load_ps(job.strands + (t * kP + a) * 16);
        }
    }
    const uint8_t* panel = job.panel;
    const LaneRecord* x = job.x;
    for (int64_t k = 0; k < job.records; ++k, panel += Unpacked<kId>::kBytes, ++x) {
        if constexpr (RecordOf<kId>::kHalves) {
            add_half_blocks<kId>(job, panel, x, strands);
        } else {
            add_whole_blocks<kId>(job, panel, x, strands);
        }
    }
    INVAR_UNROLL for (int t = 0; t < kT; ++t) {
        INVAR_UNROLL for (int a = 0; a < kP; a += 2) {
            if (job.last_chunk) {
                store_results(p, token + t, group + a / 2, strand_totals(strands[a][t], strands[a + 1][t]));
            } else {
                _mm512_store_ps(job.strands + (t * kP + a) * 16, strands[a][t]);
                _mm512_store_ps(job.strands + (t * kP + a + 1) * 16, strands[a + 1][t]);
            }
        }
    }
}

// Tokens per tile: the dots, strands and half sums of 4 pairs x 3 tokens fill 24 registers, or 36 with half sums.
template <FormatId kId>
constexpr int kTileTokens =
    RecordOf<kId>::kStep == Step::halves || RecordOf<kId>::kStep == Step::halves_minimum ? 2 : 3;

struct Chunk {  // the same for all tiles of one panel
    int64_t first_token, tokens;
    int64_t first_record, records;
    bool first, last;  // of the chunks of K
};

template <FormatId kId, int kP>
void tiles_of_panel(const Product& p, const Chunk& chunk, int64_t group, uint8_t* panel, float* strands) {
    const int64_t pair_bytes = chunk.records * Unpacked<kId>::kBytes;
    for (int half = 0; half < kP / 2; ++half) {
        unpack_group<kId>(p, group + half, chunk.first_record, chunk.records, kP / 2 * p.group_bytes,
                          panel + 2 * half * pair_bytes, pair_bytes);
    }
    int64_t done = 0;
    const auto run = [&](auto tile_function, int tokens) {
        const int64_t token = chunk.first_token + done;
        const TileJob job{.panel = panel,
                          .pair_bytes = pair_bytes,
                          .x = p.x + token * p.records + chunk.first_record,
                          .x_stride = p.records,
                          .records = chunk.records,
                          .strands = strands + done * kP * 16,
                          .first_chunk = chunk.first,
                          .last_chunk = chunk.last};
        tile_function(job, p, token, group);
        done += tokens;
    };
    constexpr int kT = kTileTokens<kId>;
    while (done + kT <= chunk.tokens) run(tile<kId, kP, kT>, kT);
    if (chunk.tokens - done == 2) run(tile<kId, kP, 2>, 2);
    if (chunk.tokens - done == 1) run(tile<kId, kP, 1>, 1);
}

// Runs all chunks of K for the row groups [first, last).
template <FormatId kId>
void tiles_of_rows(const Product& p, Chunk chunk, int64_t first, int64_t last, int64_t most_records, uint8_t* scratch) {
    for (int64_t record = 0; record < p.records; record += most_records) {
        chunk.first_record = record;
        chunk.records = p.records - record < most_records ? p.records - record : most_records;
        chunk.first = record == 0;
        chunk.last = record + chunk.records == p.records;
        float* strands = reinterpret_cast<float*>(scratch + kStrandsAt);
        for (int64_t group = first; group < last;) {
            if (group + kPanelPairs / 2 <= last) {
                tiles_of_panel<kId, kPanelPairs>(p, chunk, group, scratch, strands);
                strands += chunk.tokens * kPanelPairs * 16;
                group += kPanelPairs / 2;
            } else {
                tiles_of_panel<kId, 2>(p, chunk, group, scratch, strands);
                strands += chunk.tokens * 2 * 16;
                group += 1;
            }
        }
    }
}

template <FormatId kId>
void tiles(const LinearTask& task) {
    const Product p = product_of<kId>(task);
    // Chunks have nearly equal size, in K and in tokens; the latter in whole tiles.
    const int64_t k_chunks = (p.records + Unpacked<kId>::kChunkRecords - 1) / Unpacked<kId>::kChunkRecords;
    const int64_t most_records = (p.records + k_chunks - 1) / k_chunks;
    const int64_t token_chunks = (task.tokens + kMostTokens - 1) / kMostTokens;
    const int64_t most_tokens = ((task.tokens + token_chunks - 1) / token_chunks + 5) / 6 * 6;
    const int64_t end = (task.last_row + 3) / 4;
    uint8_t* const scratch = reinterpret_cast<uint8_t*>(task.worker_scratch);
    for (int64_t token = 0; token < task.tokens; token += most_tokens) {
        Chunk chunk{};
        chunk.first_token = token;
        chunk.tokens = task.tokens - token < most_tokens ? task.tokens - token : most_tokens;
        for (int64_t group = task.first_row / 4; group < end; group += kBlockGroups) {
            const int64_t last = group + kBlockGroups < end ? group + kBlockGroups : end;
            tiles_of_rows<kId>(p, chunk, group, last, most_records, scratch);
        }
    }
}

constexpr auto kTiles = quantized_table([]<FormatId kId>() -> RunLinear { return tiles<kId>; });

}  // namespace

void linear_tiles_avx512(const LinearTask& task) { kTiles.entries[static_cast<int>(task.weight->format->id)](task); }

}  // namespace invar
