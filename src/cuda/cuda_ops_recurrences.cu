// The verbs that change a recurrence of the sequence state: the causal convolution, the gated delta rule and Mamba 2.
// See cuda_ops.h; the kernels: recurrence.cuh. The slots of the sequences come with the page tables, so that a recorded
// pass finds them as it finds pages.
#include "base/check.h"
#include "cuda/cuda_ops_control.cuh"
#include "cuda/kernel_loading.h"
#include "cuda/recurrence.cuh"

namespace invar {

using namespace cuda;

namespace {

StateLayer state_layer(const SequenceState& cache, int layer) {
    const LayerPlace& place = cache.layer_place(layer);
    const StateMemory::Pool& pool = cache.pool(layer);
    CHECK(place.place == Place::device, "a device changes the recurrences of its own layers");
    return {.memory = simt::global(reinterpret_cast<uint8_t*>(pool.memory.get()), pool.bytes),
            .unit_bytes = pool.unit_bytes,
            .at = place.keys};
}

}  // namespace

void CudaOps::convolve(const VerbCall& call) {
    const RecurrenceCall& spec = *call.recurrence;
    const Batch& batch = *call.batch;
    const Tensor x = call.x, out = call.out;
    const int64_t channels = x.width();
    CHECK(x.rows() == batch.size() && out.rows() == batch.size() && out.width() == channels &&
              call.vector->size == channels * spec.taps && spec.taps >= 1 &&
              (call.vector2 == nullptr || call.vector2->size == channels) && has_known_activation(spec),
          "a convolution has a row for each of the batch and its taps for each channel");
    if (settings_.measuring) return;
    bring_batch(batch);
    bring_pages(batch, *call.cache);
    const RowTiles& runs = bring_tiles(batch, static_cast<int>(kMostRows));
    StateLayer columns = state_layer(*call.cache, spec.layer);
    columns.at += spec.heads.state_elements() * static_cast<int64_t>(sizeof(float));
    const ConvolutionArgs args{.x = rows_of(x),
                               .out = rows_of(out),
                               .weight = vector_of(call.vector),
                               .bias = vector_of(call.vector2),
                               .columns = columns,
                               .runs = {.batch = control_->batch(call.cache->group_of(spec.layer)),
                                        .first = runs.first.constant(),
                                        .rows = runs.rows.constant(),
                                        .count = static_cast<int>(runs.count)},
                               .channels = channels,
                               .taps = spec.taps,
                               .silu = spec.activation == Activation::silu ? 1 : 0,
                               .inspector = Inspector::of(control_->failure.global(), next_call(call))};
    simt::launch(stream_of(settings_.device),
                 {.x = parts_of(channels, kChannelThreads),
                  .y = static_cast<int>(runs.count),
                  .threads = kChannelThreads,
                  .name = "causal_convolution"},
                 causal_convolution_kernel, args);
}

void CudaOps::recur(const VerbCall& call) {
    const RecurrenceHeads& heads = call.recurrence->heads;
    const Batch& batch = *call.batch;
    const Tensor x = call.x, gates = call.x2, out = call.out;
    const bool delta = call.verb == Verb::delta_rule;
    const int64_t keys = int64_t{heads.key_heads} * heads.key_width;
    const int64_t values = int64_t{heads.value_heads} * heads.value_width;
    CHECK(x.rows() == batch.size() && x.width() == 2 * keys + values && gates.rows() == batch.size() &&
              gates.width() == heads.value_heads * (delta ? 2 : 1) && out.rows() == batch.size() &&
              out.width() == values,
          "a recurrence has queries, keys, values and gates for each row of the batch");
    CHECK(call.vector->size == heads.value_heads && call.vector2->size == heads.value_heads &&
              (delta || call.vector3->size == heads.value_heads),
          "the numbers of a recurrence belong to its value heads");
    if (settings_.measuring) return;
    bring_batch(batch);
    bring_pages(batch, *call.cache);
    const RowTiles& runs = bring_tiles(batch, static_cast<int>(kMostRows));
    const RecurrenceArgs args{.x = rows_of(x),
                              .gates = rows_of(gates),
                              .out = rows_of(out),
                              .a = vector_of(call.vector),
                              .dt_bias = vector_of(call.vector2),
                              .d = vector_of(call.vector3),
                              .state = state_layer(*call.cache, call.recurrence->layer),
                              .runs = {.batch = control_->batch(call.cache->group_of(call.recurrence->layer)),
                                       .first = runs.first.constant(),
                                       .rows = runs.rows.constant(),
                                       .count = static_cast<int>(runs.count)},
                              .key_heads = heads.key_heads,
                              .value_heads = heads.value_heads,
                              .key_width = heads.key_width,
                              .value_width = heads.value_width,
                              .interleaved = heads.interleaved ? 1 : 0,
                              .inspector = Inspector::of(control_->failure.global(), next_call(call))};
    const simt::Grid grid{.x = parts_of(heads.value_width, kStateColumns),
                          .y = heads.value_heads,
                          .z = static_cast<int>(runs.count),
                          .threads = kStateColumns,
                          .name = delta ? "delta_rule" : "state_space"};
    if (delta) return simt::launch(stream_of(settings_.device), grid, recurrence_kernel<true>, args);
    simt::launch(stream_of(settings_.device), grid, recurrence_kernel<false>, args);
}

std::span<const CudaOps::Body> CudaOps::recurrence_bodies() {
    static constexpr auto kRecur = [](CudaOps& cuda, const VerbCall& call) { cuda.recur(call); };
    static constexpr Body kBodies[] = {
        {Verb::causal_convolution, [](CudaOps& cuda, const VerbCall& call) { cuda.convolve(call); }},
        {Verb::delta_rule, kRecur},
        {Verb::state_space, kRecur},
    };
    return kBodies;
}

const void* cuda::kernel_of_recurrences() { return reinterpret_cast<const void*>(causal_convolution_kernel); }

}  // namespace invar
