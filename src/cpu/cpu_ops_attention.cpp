// Positions: rope, storing keys and values, and attention over the cache. Attention is split by tiles of rows and
// heads. If those are too few for the threads, it is split by chunks of positions too. Chunks merge in rising order
// either way, so the split does not show in the bits (docs/arithmetic.md, section 5). The kernels: attention_kernels.h.
#include <algorithm>
#include <cstring>

#include "arithmetic/float_types.h"
#include "base/check.h"
#include "cpu/cpu_ops.h"
#include "ops/visible_rows.h"

namespace invar {
namespace {

// Queries that share one read of a page. 64 of them keep their states (64 KiB at a width of 128) and the page in the L2
// cache. With 32 a prompt behind 6144 positions is 5 % slower, with 128 1 %.
constexpr int kTileQueries = 64;
// If a thread would have fewer items (tiles x heads) than this, chunks are split over threads instead.
constexpr int64_t kItemsOfAThread = 4;
// Chunks of an item whose results wait to be merged at one time (4096 positions), and how many of them a thread claims
// at once.
constexpr int64_t kWaveChunks = 64;
constexpr int64_t kClaimedChunks = 4;
// The results of a chunk with many queries and wide values (latent attention: 128 x 512) are large and take long to
// compute. Fewer of them wait then, and a thread claims one: as many as fit into this memory for each thread, but
// enough for four claims of each.
constexpr int64_t kWaitingBytes = int64_t{4} << 20;

CachedFloat cached_float(CacheType type) {
    switch (type) {
        case CacheType::f16:
            return CachedFloat::f16;
        case CacheType::bf16:
            return CachedFloat::bf16;
        case CacheType::f32:
            return CachedFloat::f32;
    }
    return CachedFloat::f32;
}

}  // namespace

// The result of one chunk for each query, or of the chunks merged so far.
struct CpuOps::ChunkState {
    float* m = nullptr;  // [queries]
    float* l = nullptr;  // [queries]
    float* o = nullptr;  // [queries][value_width]

    static ChunkState take(Arena& arena, int64_t queries, int64_t value_width) {
        return {.m = arena.take<float>(queries),
                .l = arena.take<float>(queries),
                .o = arena.take<float>(queries * value_width)};
    }
    ChunkState from_query(int64_t query, int64_t value_width) const {
        return {.m = m + query, .l = l + query, .o = o + query * value_width};
    }
};

// ---- rope

// cos and sin of every row's position, [rows][2][pairs]; computed once per pass for a table and a list of positions.
const float* CpuOps::angles_of(const RopeTable& table, const Batch& batch) {
    const auto same = [&](const RopeAngles& known) {
        return known.table == &table &&
               std::equal(known.positions.begin(), known.positions.end(), batch.rows.begin(), batch.rows.end(),
                          [](int64_t position, const BatchRow& row) { return position == row.position; });
    };
    const auto known = std::find_if(rope_angles_.begin(), rope_angles_.end(), same);
    if (known != rope_angles_.end()) return known->values;

    const int64_t pairs = table.spec().pairs();
    float* values = arena_.take<float>(batch.size() * 2 * pairs);
    RopeAngles& made = rope_angles_.emplace_back();
    made.table = &table;
    made.values = values;
    for (const BatchRow& row : batch.rows) made.positions.push_back(row.position);
    if (measuring()) return values;
    // 64 pairs are 128 sines and cosines of about 30 ns each.
    pool_.parallel_for(batch.size(), 1, [&](int64_t first, int64_t last, int) {
        for (int64_t row = first; row < last; ++row) {
            float* cosines = values + row * 2 * pairs;
            table.angles(made.positions[static_cast<size_t>(row)], cosines, cosines + pairs);
        }
    });
    return values;
}

void CpuOps::rotate(const VerbCall& call) {
    const Batch& batch = *call.batch;
    const Tensor x = call.out;
    const RopeSpec& spec = call.rope->spec();
    CHECK(batch.size() > 0 && x.rows() % batch.size() == 0 && x.width() % spec.head_width == 0,
          "a row is a whole number of heads");
    const int64_t rows_of_token = x.rows() / batch.size();
    const float* angles = angles_of(*call.rope, batch);
    record_use(call.verb, "", x.rows(), row_kernels_.name);
    if (measuring()) return;
    const int64_t heads = x.width() / spec.head_width, pairs = spec.pairs();
    const auto turn = spec.pairing == RopePairing::halves ? row_kernels_.rope_halves : row_kernels_.rope_adjacent;
    pool_.parallel_for(x.rows() * heads, rows_for_a_thread(spec.head_width),
                       [&](int64_t first, int64_t last, int worker) {
                           for (int64_t item = first; item < last; ++item) {
                               const int64_t row = item / heads, element = item % heads * spec.head_width;
                               float* head = x.host_row(row) + element;
                               const float* cosines = angles + row / rows_of_token * 2 * pairs;
                               turn(head, pairs, cosines, cosines + pairs);
                               inspect(worker, 0, row, element, head, spec.head_width);
                           }
                       });
    report_finding(call);
}

// ---- the cache

void CpuOps::inspect_halves(int worker, int64_t job, int64_t row, int64_t first_element, CachedFloat type,
                            const uint16_t* halves, int64_t n) {
    if (failure_) return;
    const uint32_t exponent = type == CachedFloat::f16 ? 0x7C00u : 0x7F80u;
    bool suspicious = false;
    for (int64_t i = 0; i < n; ++i) suspicious |= (halves[i] & exponent) == exponent;
    if (!suspicious) return;
    for (int64_t i = 0; i < n; ++i) {
        const float value = type == CachedFloat::f16 ? f16_to_f32(halves[i]) : bf16_to_f32(halves[i]);
        inspect(worker, job, row, first_element + i, &value, 1);
    }
}

void CpuOps::store(const VerbCall& call) {
    const int layer = call.cache_layer;
    const Batch& batch = *call.batch;
    const Tensor keys = call.x, values = call.x2;
    SequenceState& cache = *call.cache;
    const KvGeometry geometry = cache.layers()[static_cast<size_t>(layer)];
    const int64_t key_width = geometry.key_width, value_width = geometry.value_width, heads = geometry.kv_heads;
    CHECK(keys.rows() == batch.size() && keys.width() == heads * key_width && values.rows() == batch.size() &&
              values.width() == heads * value_width,
          "a row has a key and a value for each head of the layer");
    const ArenaScope scope(arena_);
    uint16_t* all_narrowed = arena_.take<uint16_t>(key_width * pool_.threads());
    record_use(call.verb, cache_type_name(cache.type()), batch.size(), row_kernels_.name);
    if (measuring()) return;

    const CachedFloat type = cached_float(cache.type());
    const auto store_key = [&](int64_t row, int64_t head, std::byte* page_keys, int lane, int worker) {
        const float* key = keys.host_row(row) + head * key_width;
        if (type == CachedFloat::f32) {
            auto* place = reinterpret_cast<float*>(page_keys);
            for (int64_t i = 0; i < key_width; ++i) place[i * kPagePositions + lane] = key[i];
            return inspect(worker, 0, row, head * key_width, key, key_width);
        }
        uint16_t* narrowed = all_narrowed + worker * key_width;
        row_kernels_.narrow(type, key, key_width, narrowed);
        auto* place = reinterpret_cast<uint16_t*>(page_keys);
        for (int64_t i = 0; i < key_width; ++i) place[i * kPagePositions + lane] = narrowed[i];
        inspect_halves(worker, 0, row, head * key_width, type, narrowed, key_width);
    };
    const auto store_value = [&](int64_t row, int64_t head, std::byte* page_values, int lane, int worker) {
        const float* value = values.host_row(row) + head * value_width;
        if (type == CachedFloat::f32) {
            std::memcpy(page_values + lane * value_width * 4, value, static_cast<size_t>(value_width) * 4);
            return inspect(worker, 1, row, head * value_width, value, value_width);
        }
        auto* place = reinterpret_cast<uint16_t*>(page_values) + lane * value_width;
        row_kernels_.narrow(type, value, value_width, place);
        inspect_halves(worker, 1, row, head * value_width, type, place, value_width);
    };
    // A thread takes whole heads: the positions of a head's keys share cache lines.
    const int64_t heads_for_a_thread = rows_for_a_thread(batch.size() * (key_width + value_width));
    pool_.parallel_for(heads, heads_for_a_thread, [&](int64_t first_head, int64_t last_head, int worker) {
        for (int64_t head = first_head; head < last_head; ++head) {
            for (int64_t row = 0; row < batch.size(); ++row) {
                const BatchRow& place = batch.rows[static_cast<size_t>(row)];
                const std::span<const int32_t> pages = cache.pages_of(place.sequence, layer);
                CHECK(place.position / kPagePositions < static_cast<int64_t>(pages.size()),
                      "room was reserved before the pass");
                const int32_t page = pages[static_cast<size_t>(place.position / kPagePositions)];
                const int lane = static_cast<int>(place.position % kPagePositions);
                store_key(row, head, cache.keys(layer, page, static_cast<int>(head)), lane, worker);
                if (geometry.values_in_keys) continue;
                store_value(row, head, cache.values(layer, page, static_cast<int>(head)), lane, worker);
            }
        }
    });
    // Keys are job 0, values job 1: the verb's name tells them apart.
    const bool in_keys = std::any_of(findings_.begin(), findings_.end(),
                                     [](const Finding& finding) { return finding.found && finding.job == 0; });
    const Stage stages[2] = {call.stage, call.stage};
    report_finding(in_keys ? "store_kv (keys)" : "store_kv (values)", stages);
}

// ---- attention

// One call: its operands, its tiles (consecutive rows of one sequence) and the memory of each thread.
struct CpuOps::AttentionPlan {
    const AttentionCall& spec;
    const Batch& batch;
    Tensor queries, out;
    const SequenceState& cache;
    KvGeometry geometry;
    VisibleRows visible_rows;
    const float* sinks = nullptr;  // [heads], or none
    const float* zeros = nullptr;  // [value_width]
    int group = 0;                 // query heads that share a key head
    int64_t most_queries = 0;      // of a tile

    int32_t* tile_first = nullptr;  // [tiles + 1]: rows
    int64_t tiles = 0;

    struct Worker {
        ChunkState state, next;         // [most_queries]
        float* scores = nullptr;        // [most_queries][64]
        float* turned = nullptr;        // [64][value_width] if values lie in keys
        const float** query = nullptr;  // [most_queries]
        VisibleLanes* visible = nullptr;
    };
    Worker* workers = nullptr;
    int64_t wave_chunks = kWaveChunks, claimed_chunks = kClaimedChunks;
    ChunkState waiting = {};  // [items][wave_chunks][group]: chunks of a wave, before they are merged
    ChunkState merged = {};   // [items][group]

    VisiblePositions visible(int64_t row) const { return visible_rows.of(row); }

    // Computes the chunk for those rows of [first_row, last_row) that see some of it.
    void compute(const AttentionKernels& kernels, const Worker& worker, int64_t first_row, int64_t last_row,
                 int64_t head, int64_t chunk, ChunkState result) const {
        const int64_t start = chunk * kChunkLanes;
        int queries_of_task = 0;
        for (int64_t row = first_row; row < last_row; ++row) {
            const VisiblePositions seen = visible(row);
            const VisibleLanes lanes{.first = static_cast<int32_t>(std::max<int64_t>(seen.first - start, 0)),
                                     .last = static_cast<int32_t>(std::min<int64_t>(seen.last - start, kChunkLanes))};
            for (int g = 0; g < group; ++g) {
                worker.query[queries_of_task] = queries.host_row(row) + (head * group + g) * geometry.key_width;
                worker.visible[queries_of_task++] = lanes;
            }
        }
        const std::span<const int32_t> pages =
            cache.pages_of(batch.rows[static_cast<size_t>(first_row)].sequence, spec.layer);
        CHECK(chunk < static_cast<int64_t>(pages.size()), "keys and values were stored before attention");
        const int32_t page = pages[static_cast<size_t>(chunk)];
        const bool another = (chunk + 1) * kChunkLanes < visible(last_row - 1).last;
        const bool in_keys = geometry.values_in_keys;
        const int32_t next_page = another ? pages[static_cast<size_t>(chunk + 1)] : 0;
        kernels.chunk(
            {.keys = cache.keys(spec.layer, page, static_cast<int>(head)),
             .values = in_keys ? nullptr : cache.values(spec.layer, page, static_cast<int>(head)),
             .next_keys = another ? cache.keys(spec.layer, next_page, static_cast<int>(head)) : nullptr,
             .next_values = another && !in_keys ? cache.values(spec.layer, next_page, static_cast<int>(head)) : nullptr,
             .type = cached_float(cache.type()),
             .key_width = geometry.key_width,
             .value_width = geometry.value_width,
             .values_in_keys = in_keys,
             .turned = worker.turned,
             .scale = spec.scale,
             .softcap = spec.softcap,
             .queries = queries_of_task,
             .query = worker.query,
             .visible = worker.visible,
             .m = result.m,
             .l = result.l,
             .o = result.o,
             .scores = worker.scores});
    }

    // Merges the chunk's results into the states of `count` queries; the first chunk that queries see becomes their
    // state.
    void take(const AttentionKernels& kernels, bool is_first, int64_t count, ChunkState state, ChunkState next) const {
        const int64_t width = geometry.value_width;
        if (!is_first) {
            return kernels.merge({.queries = count,
                                  .value_width = width,
                                  .m = state.m,
                                  .l = state.l,
                                  .o = state.o,
                                  .next_m = next.m,
                                  .next_l = next.l,
                                  .next_o = next.o});
        }
        std::copy_n(next.m, count, state.m);
        std::copy_n(next.l, count, state.l);
        std::copy_n(next.o, count * width, state.o);
    }
};

void CpuOps::attend(const VerbCall& call) {
    const AttentionCall& spec = *call.attention;
    const Batch& batch = *call.batch;
    const Tensor queries = call.x, out = call.out;
    const SequenceState& cache = *call.cache_read;
    const KvGeometry geometry = cache.layers()[static_cast<size_t>(spec.layer)];
    CHECK(geometry.kv_heads > 0 && spec.heads % geometry.kv_heads == 0,
          "query heads are shared evenly among key heads");
    CHECK(queries.rows() == batch.size() && queries.width() == int64_t{spec.heads} * geometry.key_width &&
              out.rows() == batch.size() && out.width() == int64_t{spec.heads} * geometry.value_width,
          "a row has a query and a result for each head");
    const ArenaScope scope(arena_);
    AttentionPlan plan{.spec = spec,
                       .batch = batch,
                       .queries = queries,
                       .out = out,
                       .cache = cache,
                       .geometry = geometry,
                       .visible_rows = VisibleRows(geometry, batch)};
    plan.group = spec.heads / geometry.kv_heads;
    plan.most_queries = std::max(kTileQueries, plan.group);
    const int64_t threads = pool_.threads(), enough_items = threads == 1 ? 1 : kItemsOfAThread * threads;

    // Takes all memory that any split of this batch needs, so that a measuring pass need not know the split.
    float* zeros = arena_.take<float>(geometry.value_width);
    plan.tile_first = arena_.take<int32_t>(batch.size() + 1);
    plan.workers = arena_.take<AttentionPlan::Worker>(threads);
    // Fewer items than enough are computed in waves; that many chunks can wait.
    const int64_t chunk_bytes = plan.group * (geometry.value_width + 2) * 4;
    const int64_t most_waiting =
        std::clamp<int64_t>(kWaitingBytes * threads / chunk_bytes, enough_items, enough_items * kWaveChunks);
    plan.waiting = ChunkState::take(arena_, threads == 1 ? 0 : most_waiting * plan.group, geometry.value_width);
    plan.merged = ChunkState::take(arena_, threads == 1 ? 0 : enough_items * plan.group, geometry.value_width);
    std::vector<AttentionPlan::Worker> memory(static_cast<size_t>(threads));
    for (AttentionPlan::Worker& worker : memory) {
        worker.state = ChunkState::take(arena_, plan.most_queries, geometry.value_width);
        worker.next = ChunkState::take(arena_, plan.most_queries, geometry.value_width);
        worker.scores = arena_.take<float>(plan.most_queries * kChunkLanes);
        if (geometry.values_in_keys) worker.turned = arena_.take<float>(kChunkLanes * geometry.value_width);
        worker.query = arena_.take<const float*>(plan.most_queries);
        worker.visible = arena_.take<VisibleLanes>(plan.most_queries);
    }
    record_use(call.verb, cache_type_name(cache.type()), batch.size(), attention_kernels_.name);
    if (measuring()) return;
    std::copy(memory.begin(), memory.end(), plan.workers);
    std::fill_n(zeros, geometry.value_width, 0.0f);
    plan.zeros = zeros;
    if (call.vector != nullptr) {
        CHECK(call.vector->size == spec.heads, "there is a sink for each head");
        plan.sinks = call.vector->data;
    }

    const int64_t items = batch.size() * geometry.kv_heads;
    int64_t most_chunks = 0;
    for (int64_t row = 0; row < batch.size(); ++row) {
        const VisiblePositions seen = plan.visible(row);
        most_chunks = std::max(most_chunks, seen.last_chunk() - seen.first_chunk() + 1);
    }
    plan.wave_chunks = std::min(kWaveChunks, most_waiting / std::max<int64_t>(items, 1));
    plan.claimed_chunks = plan.wave_chunks == kWaveChunks ? kClaimedChunks : 1;
    const bool in_waves = items < enough_items && most_chunks >= 2 * plan.claimed_chunks;
    const int64_t rows_of_tile =
        in_waves ? 1 : std::clamp<int64_t>(items / enough_items, 1, std::max(1, kTileQueries / plan.group));
    for (int64_t row = 0; row < batch.size(); ++row) {
        const bool starts =
            row == 0 || row - plan.tile_first[plan.tiles - 1] == rows_of_tile ||
            batch.rows[static_cast<size_t>(row)].sequence != batch.rows[static_cast<size_t>(row - 1)].sequence;
        if (starts) plan.tile_first[plan.tiles++] = static_cast<int32_t>(row);
    }
    plan.tile_first[plan.tiles] = static_cast<int32_t>(batch.size());
    if (in_waves) {
        attend_in_waves(plan, most_chunks);
    } else {
        attend_tiles(plan);
    }
    report_finding(call);
}

// Computes out of one query from its merged state. A sink merges first, as a chunk of one score whose value is zero.
void CpuOps::finish_query(const AttentionPlan& plan, int64_t row, int64_t query_head, const ChunkState& state,
                          int worker) {
    const int64_t width = plan.geometry.value_width, element = query_head * width;
    if (plan.sinks != nullptr) {
        const float one = 1.0f;
        attention_kernels_.merge({.queries = 1,
                                  .value_width = width,
                                  .m = state.m,
                                  .l = state.l,
                                  .o = state.o,
                                  .next_m = plan.sinks + query_head,
                                  .next_l = &one,
                                  .next_o = plan.zeros});
    }
    float* out = plan.out.host_row(row) + element;
    attention_kernels_.finish(*state.l, state.o, width, out);
    inspect(worker, 0, row, element, out, width);
}

// An item is a tile and a head. Its thread walks the chunks.
void CpuOps::attend_tiles(const AttentionPlan& plan) {
    const int64_t heads = plan.geometry.kv_heads, width = plan.geometry.value_width;
    pool_.parallel_items(plan.tiles * heads, [&](int64_t item, int worker_index) {
        const AttentionPlan::Worker& worker = plan.workers[worker_index];
        // The order is head by head, so that threads share the pages of one head in their last-level cache. The last
        // rows see the most positions, so they start first.
        const int64_t head = item / plan.tiles;
        const int64_t tile = plan.tiles - 1 - item % plan.tiles;
        const int64_t first = plan.tile_first[tile], last = plan.tile_first[tile + 1];
        const int64_t first_chunk = plan.visible(first).first_chunk();
        const int64_t last_chunk = plan.visible(last - 1).last_chunk();
        for (int64_t chunk = first_chunk; chunk <= last_chunk; ++chunk) {
            // Positions rise within a tile, and what they see with them, so the rows that see the chunk are
            // consecutive.
            int64_t from = first, to = last;
            while (plan.visible(from).last <= chunk * kChunkLanes) ++from;
            while (plan.visible(to - 1).first >= (chunk + 1) * kChunkLanes) --to;
            if (from >= to) continue;  // a gap between the windows of two rows
            plan.compute(attention_kernels_, worker, from, to, head, chunk, worker.next);
            const auto is_first = [&](int64_t row) { return chunk == plan.visible(row).first_chunk(); };
            for (int64_t row = from, end = from; row < to; row = end) {
                while (end < to && is_first(end) == is_first(row)) ++end;
                plan.take(attention_kernels_, is_first(row), (end - row) * plan.group,
                          worker.state.from_query((row - first) * plan.group, width),
                          worker.next.from_query((row - from) * plan.group, width));
            }
        }
        for (int64_t row = first; row < last; ++row) {
            for (int64_t g = 0; g < plan.group; ++g) {
                const ChunkState state = worker.state.from_query((row - first) * plan.group + g, width);
                finish_query(plan, row, head * plan.group + g, state, worker_index);
            }
        }
    });
}

// An item is a row and a head. Threads compute a wave of chunks of each item, merge them, and go on.
void CpuOps::attend_in_waves(const AttentionPlan& plan, int64_t most_chunks) {
    const int64_t heads = plan.geometry.kv_heads, width = plan.geometry.value_width, group = plan.group;
    const int64_t items = plan.batch.size() * heads;
    const int64_t wave_chunks = plan.wave_chunks, claims = wave_chunks / plan.claimed_chunks;
    for (int64_t wave = 0; wave * wave_chunks < most_chunks; ++wave) {
        const auto chunks_of = [&](int64_t row) {  // the row's chunks in this wave, [first, last)
            const VisiblePositions seen = plan.visible(row);
            const int64_t first = seen.first_chunk() + wave * wave_chunks;
            return std::pair(first, std::min(first + wave_chunks, seen.last_chunk() + 1));
        };
        pool_.parallel_items(items * claims, [&](int64_t claim, int worker_index) {
            const int64_t item = claim / claims, row = item / heads, head = item % heads;
            const auto [begin, end] = chunks_of(row);
            const int64_t first = begin + claim % claims * plan.claimed_chunks;
            for (int64_t chunk = first; chunk < std::min(first + plan.claimed_chunks, end); ++chunk) {
                const int64_t place = (item * wave_chunks + chunk - begin) * group;
                plan.compute(attention_kernels_, plan.workers[worker_index], row, row + 1, head, chunk,
                             plan.waiting.from_query(place, width));
            }
        });
        pool_.parallel_items(items * group, [&](int64_t query, int worker_index) {
            const int64_t item = query / group, row = item / heads, head = item % heads;
            const auto [begin, end] = chunks_of(row);
            const ChunkState state = plan.merged.from_query(query, width);
            for (int64_t chunk = begin; chunk < end; ++chunk) {
                const int64_t place = (item * wave_chunks + chunk - begin) * group + query % group;
                plan.take(attention_kernels_, wave == 0 && chunk == begin, 1, state,
                          plan.waiting.from_query(place, width));
            }
            if ((wave + 1) * wave_chunks < most_chunks) return;
            finish_query(plan, row, head * group + query % group, state, worker_index);
        });
    }
}

std::span<const CpuOps::Body> CpuOps::position_bodies() {
    static constexpr Body kBodies[] = {
        {Verb::rope, [](CpuOps& cpu, const VerbCall& call) { cpu.rotate(call); }},
        {Verb::store_kv, [](CpuOps& cpu, const VerbCall& call) { cpu.store(call); }},
        {Verb::attention, [](CpuOps& cpu, const VerbCall& call) { cpu.attend(call); }},
    };
    return kBodies;
}

}  // namespace invar
