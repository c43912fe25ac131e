// Positions: rope, storing keys and values, and attention over the cache. See cuda_ops.h; the kernels: row_kernels.cuh,
// attention.cuh and latent_attention.cuh.
#include <algorithm>
#include <bit>

#include "base/check.h"
#include "cuda/cuda_ops_control.cuh"
#include "cuda/kernel_loading.h"
#include "cuda/latent_attention.cuh"

namespace invar {

using namespace cuda;

namespace {

// With fewer blocks than this some multiprocessors idle, so attention is split over chunks too (an H200 has 132).
constexpr int64_t kEnoughBlocks = 264;

}  // namespace

// Brings the table's frequencies to the device and returns their place; tables stay there.
int64_t CudaOps::bring_frequencies(const RopeTable& table) {
    std::vector<std::vector<double>>& known = control_->rope_frequencies;
    const std::vector<double> wanted(table.frequencies().begin(), table.frequencies().end());
    const auto found = std::find(known.begin(), known.end(), wanted);
    const auto place = static_cast<int64_t>(found - known.begin());
    if (found != known.end()) return place;
    CHECK(place < kRopeTables && wanted.size() <= kMostPairs, "a model has at most 8 rope tables for heads of 512");
    known.push_back(wanted);
    keep(settings_.device.upload(reinterpret_cast<std::byte*>(control_->frequencies.data() + place * kMostPairs),
                                 wanted.data(), static_cast<int64_t>(wanted.size() * sizeof(double))));
    return place;
}

const float* CudaOps::angles_of(const RopeTable& table, const Batch& batch) {
    bring_batch(batch);
    for (const Control::Angles& known : control_->angles)
        if (known.table == &table) return known.values;
    const int pairs = table.spec().pairs();
    auto* angles = take_elements<float>(batch.size() * 2 * pairs);
    control_->angles.push_back({.table = &table, .values = angles});
    if (settings_.measuring) return angles;
    const double* const frequencies = control_->frequencies.data() + bring_frequencies(table) * kMostPairs;
    const RopeAnglesArgs args{.frequencies = simt::global(frequencies, pairs),
                              .attention_factor = table.attention_factor(),
                              .pairs = pairs,
                              .positions = control_->positions.constant(),
                              .angles = simt::global(angles, batch.size() * 2 * pairs)};
    simt::launch(stream_of(settings_.device),
                 {.x = parts_of(pairs, 64), .y = static_cast<int>(batch.size()), .threads = 64, .name = "rope_angles"},
                 rope_angles_kernel, args);
    return angles;
}

void CudaOps::rotate(const VerbCall& call) {
    const Batch& batch = *call.batch;
    const Tensor x = call.out;
    const RopeSpec& spec = call.rope->spec();
    CHECK(batch.size() > 0 && x.rows() % batch.size() == 0 && x.width() % spec.head_width == 0,
          "a row is a whole number of heads");
    const float* const angles = angles_of(*call.rope, batch);
    if (settings_.measuring) return;
    const RopeArgs args{.x = rows_of(x),
                        .angles = simt::global(angles, batch.size() * 2 * spec.pairs()),
                        .head_width = spec.head_width,
                        .pairs = spec.pairs(),
                        .rows_of_token = static_cast<int>(x.rows() / batch.size()),
                        .adjacent = spec.pairing == RopePairing::adjacent ? 1 : 0,
                        .inspector = Inspector::of(control_->failure.global(), next_call(call))};
    simt::launch(stream_of(settings_.device),
                 {.x = static_cast<int>(x.width() / spec.head_width),
                  .y = static_cast<int>(x.rows()),
                  .threads = 64,
                  .name = "rope"},
                 rope_kernel, args);
}

namespace {

CacheLayer cache_layer(const SequenceState& cache, int layer) {
    const KvGeometry& geometry = cache.layers()[static_cast<size_t>(layer)];
    const LayerPlace& place = cache.layer_place(layer);
    const StateMemory::Pool& pool = cache.pool(layer);
    CHECK(place.place == Place::device, "a device reads its own layers of the cache");
    return {.memory = simt::global(reinterpret_cast<uint8_t*>(pool.memory.get()), pool.bytes),
            .page_bytes = pool.unit_bytes,
            .keys_at = place.keys,
            .values_at = place.values,
            .key_head_bytes = place.key_head,
            .value_head_bytes = place.value_head,
            .kv_heads = geometry.kv_heads,
            .key_width = geometry.key_width,
            .value_width = geometry.value_width,
            .window = geometry.window,
            .reach = geometry.reach,
            .values_in_keys = geometry.values_in_keys ? 1 : 0};
}

// Calls use.operator()<type>().
template <class Use>
void with_cache_type(CacheType type, Use use) {
    if (type == CacheType::f16) return use.template operator()<CacheType::f16>();
    if (type == CacheType::bf16) return use.template operator()<CacheType::bf16>();
    use.template operator()<CacheType::f32>();
}

}  // namespace

void CudaOps::store(const VerbCall& call) {
    if (settings_.measuring) return;
    const Batch& batch = *call.batch;
    const SequenceState& cache = *call.cache;
    bring_batch(batch);
    bring_pages(batch, cache);
    const int number = next_call("store_kv (keys)", call.stage);
    calls_.back().second_verb = "store_kv (values)";
    const StoreArgs args{.cache = cache_layer(cache, call.cache_layer),
                         .batch = control_->batch(cache.group_of(call.cache_layer)),
                         .keys = rows_of(call.x),
                         .values = rows_of(call.x2),
                         .key_inspector = Inspector::of(control_->failure.global(), number, 0),
                         .value_inspector = Inspector::of(control_->failure.global(), number, 1)};
    const simt::Grid grid{
        .x = args.cache.kv_heads, .y = static_cast<int>(batch.size()), .threads = 64, .name = "store_kv"};
    with_cache_type(cache.type(), [&]<CacheType kType>() {
        simt::launch(stream_of(settings_.device), grid, store_kv_kernel<kType>, args);
    });
}

namespace {

// The number of runs: consecutive rows of one sequence.
int64_t runs_of(const Batch& batch) {
    int64_t runs = 0;
    for (size_t i = 0; i < batch.rows.size(); ++i)
        runs += i == 0 || batch.rows[i].sequence != batch.rows[i - 1].sequence ? 1 : 0;
    return runs;
}

// Queries per block: many in prompts; otherwise as few as the heads that share a key. Heads of more than 256 elements
// leave room for 8.
int queries_of_block(const Batch& batch, int group, int threads) {
    if (threads > 256) return kLatentQueries;
    if (batch.size() >= 4 * runs_of(batch) && batch.size() * group > 8) return threads > 128 ? 16 : 32;
    return group <= 4 && threads == 128 ? 4 : 8;
}

// Launches attention with `threads` threads, the width of the widest head that they can compute.
void launch_attention(simt::Stream stream, simt::Grid grid, CacheType type, int of_block, const AttentionArgs& args) {
    with_cache_type(type, [&]<CacheType kType>() {
        if (args.cache.values_in_keys != 0) {
            grid.threads = kLatentThreads;
            grid.name = "latent_attention";
            return simt::launch(stream, grid, latent_attention_kernel<kType>, args);
        }
        if (grid.threads == 512) return simt::launch(stream, grid, attention_kernel<kType, 512, 8>, args);
        if (grid.threads == 256 && of_block == 16)
            return simt::launch(stream, grid, attention_kernel<kType, 256, 16>, args);
        if (grid.threads == 256) return simt::launch(stream, grid, attention_kernel<kType, 256, 8>, args);
        if (of_block == 32) return simt::launch(stream, grid, attention_kernel<kType, 128, 32>, args);
        if (of_block == 8) return simt::launch(stream, grid, attention_kernel<kType, 128, 8>, args);
        simt::launch(stream, grid, attention_kernel<kType, 128, 4>, args);
    });
}

}  // namespace

void CudaOps::write_tiles(const Batch& batch, RowTiles& tiles) {
    if (tiles.current) return;
    std::vector<int32_t> first, rows;
    for (size_t i = 0; i < batch.rows.size(); ++i) {
        const bool joins =
            !first.empty() && rows.back() < tiles.limit && batch.rows[i].sequence == batch.rows[i - 1].sequence;
        if (!joins) first.push_back(static_cast<int32_t>(i)), rows.push_back(0);
        ++rows.back();
    }
    tiles.count = static_cast<int64_t>(first.size());
    tiles.current = true;
    control_->write(tiles.first, first.data(), first.size());
    control_->write(tiles.rows, rows.data(), rows.size());
}

const RowTiles& CudaOps::bring_tiles(const Batch& batch, int rows_of_tile) {
    const auto fits = [&](const RowTiles& tiles) { return tiles.limit == rows_of_tile || tiles.limit == 0; };
    auto found = std::find_if(control_->tiles.begin(), control_->tiles.end(), fits);
    if (found == control_->tiles.end()) found = control_->tiles.begin();  // written anew at each change
    if (found->limit != rows_of_tile) {
        found->limit = rows_of_tile;
        found->current = false;
    }
    write_tiles(batch, *found);
    send_cells();
    return *found;
}

void CudaOps::attend(const VerbCall& call) {
    if (settings_.measuring) return;
    const AttentionCall& spec = *call.attention;
    const Batch& batch = *call.batch;
    const SequenceState& cache = *call.cache_read;
    bring_batch(batch);
    bring_pages(batch, cache);
    Control& control = *control_;
    AttentionArgs args{.cache = cache_layer(cache, spec.layer),
                       .batch = control.batch(cache.group_of(spec.layer)),
                       .queries = rows_of(call.x),
                       .out = rows_of(call.out),
                       .heads = spec.heads,
                       .scale = spec.scale,
                       .softcap = spec.softcap,
                       .sinks = vector_of(call.vector),
                       .inspector = Inspector::of(control.failure.global(), next_call(call))};
    const CacheLayer& layer = args.cache;
    const bool latent = layer.values_in_keys != 0;
    CHECK(layer.key_width <= (latent ? kMostLatentKey : kMostHeadWidth) &&
              layer.value_width <= (latent ? kMostLatentValue : kMostHeadWidth),
          "the plan refuses wider heads on the device");
    const int widest = std::max(layer.key_width, layer.value_width);
    const int threads = latent || widest > 256 ? 512 : widest > 128 ? 256 : 128;
    const int group = spec.heads / layer.kv_heads;
    const int of_block = queries_of_block(batch, group, threads), of_part = std::min(group, of_block);
    const int parts = parts_of(group, of_part);
    const RowTiles& tiles = bring_tiles(batch, std::max(1, of_block / of_part));
    args.tile_first = tiles.first.constant();
    args.tile_rows = tiles.rows.constant();
    const int64_t chunks = attention_chunks(batch);
    const int64_t results = batch.size() * spec.heads * chunks;
    const bool split = chunks > 1 && tiles.count * layer.kv_heads * parts < kEnoughBlocks &&
                       results * (2 + layer.value_width) <= control.chunk_results.count;
    if (split) {
        float* const values = control.chunk_results.data();
        args.chunks = chunks;
        args.chunk_m = simt::global(values, results);
        args.chunk_l = simt::global(values + results, results);
        args.chunk_o = simt::global(values + 2 * results, results * layer.value_width);
    }
    const simt::Stream stream = stream_of(settings_.device);
    const simt::Grid grid{.x = static_cast<int>(tiles.count),
                          .y = layer.kv_heads * parts,
                          .z = split ? static_cast<int>(chunks) : 1,
                          .threads = threads,
                          .name = "attention"};
    launch_attention(stream, grid, cache.type(), of_block, args);
    if (!split) return;
    const simt::Grid merge{
        .x = spec.heads, .y = static_cast<int>(batch.size()), .threads = threads, .name = "attention_merge"};
    if (threads == 512) return simt::launch(stream, merge, attention_merge_kernel<512>, args);
    if (threads == 256) return simt::launch(stream, merge, attention_merge_kernel<256>, args);
    simt::launch(stream, merge, attention_merge_kernel<128>, args);
}

std::span<const CudaOps::Body> CudaOps::position_bodies() {
    static constexpr Body kBodies[] = {
        {Verb::rope, [](CudaOps& cuda, const VerbCall& call) { cuda.rotate(call); }},
        {Verb::store_kv, [](CudaOps& cuda, const VerbCall& call) { cuda.store(call); }},
        {Verb::attention, [](CudaOps& cuda, const VerbCall& call) { cuda.attend(call); }},
    };
    return kBodies;
}

const void* cuda::kernel_of_positions() { return reinterpret_cast<const void*>(rope_kernel); }

}  // namespace invar
