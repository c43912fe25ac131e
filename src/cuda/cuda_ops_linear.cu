// Products: the kernel for a number of tokens, the activations prepared for it, and experts. See cuda_ops.h.
#include <algorithm>

#include "base/check.h"
#include "cuda/cuda_ops_control.cuh"
#include "cuda/kernel_loading.h"
#include "cuda/products.cuh"
#include "cuda/routing.cuh"

namespace invar {

using namespace cuda;

namespace {

const ProductKernel& kernel_of(const WeightMatrix& weight, int64_t tokens, bool experts) {
    return choose_product({.format = weight.format->id,
                           .rows = weight.rows,
                           .columns = weight.columns,
                           .tokens = tokens,
                           .experts = experts});
}

simt::Global<const uint8_t> bytes_of(const std::byte* data, int64_t bytes) {
    return simt::global(reinterpret_cast<const uint8_t*>(data), bytes);
}

}  // namespace

// A matrix of activations in the form that its product reads.
struct CudaOps::Operand {
    int64_t tokens = 0, columns = 0;
    bool tiles = false;
    simt::Global<const uint8_t> rows;
    TileActivations tile_rows;
};

CudaOps::Operand CudaOps::prepare(bool quantized, bool tiles, Tensor x) {
    Operand operand{.tokens = x.rows(), .columns = x.width(), .tiles = tiles, .rows = {}, .tile_rows = {}};
    const int64_t records = records_of(x.width());
    const simt::Stream stream = stream_of(settings_.device);
    const auto from = simt::Global<const float>(rows_of(x).data);
    if (!quantized) {
        const int64_t count = x.rows() * records * kRecordColumns;
        float* const reordered = take_elements<float>(count);
        if (settings_.measuring) return operand;
        launch_reorder(stream,
                       {.x = from,
                        .stride = x.stride(),
                        .columns = x.width(),
                        .records = records,
                        .out = simt::global(reordered, count),
                        .tile_tokens = tiles ? x.rows() : 0},
                       x.rows());
        operand.rows = bytes_of(reinterpret_cast<const std::byte*>(reordered), count * 4);
        operand.tile_rows.values = simt::global(reordered, count);
        operand.tile_rows.tokens = x.rows();
        return operand;
    }
    QuantizeArgs args{.x = from,
                      .stride = x.stride(),
                      .columns = x.width(),
                      .records = records,
                      .tokens = x.rows(),
                      .records_out = {},
                      .tiles = {}};
    if (tiles) {
        const int64_t padded = (x.rows() + kTileTokens - 1) / kTileTokens * kTileTokens, blocks = 8 * records * padded;
        operand.tile_rows = {.q = simt::global(take_elements<uint8_t>(blocks * 32), blocks * 32),
                             .d = simt::global(take_elements<float>(blocks), blocks),
                             .sx = simt::global(take_elements<float>(blocks), blocks),
                             .sum = {simt::global(take_elements<float>(blocks), blocks),
                                     simt::global(take_elements<float>(blocks), blocks)},
                             .tokens = padded};
        args.tiles = operand.tile_rows;
    } else {
        const int64_t bytes = x.rows() * records * static_cast<int64_t>(sizeof(ActivationRecord));
        std::byte* const made = take(bytes);
        args.records_out = simt::global(reinterpret_cast<uint8_t*>(made), bytes);
        operand.rows = bytes_of(made, bytes);
    }
    if (!settings_.measuring) launch_quantize(stream, args);
    return operand;
}

void CudaOps::product(const VerbCall& call, const Operand& x) {
    const WeightMatrix& weight = *call.matrix;
    const Tensor y = call.out;
    CHECK(weight.form == StoredForm::device_lanes, "matrices of a device are packed for it");
    CHECK(
        weight.rows < kMostElements && x.columns == weight.columns && y.width() == weight.rows && y.rows() == x.tokens,
        "a product has a row of y for each row of x");
    if (settings_.measuring) return;
    const simt::Stream stream = stream_of(settings_.device);
    const Inspector inspector = Inspector::of(control_->failure.global(), next_call(call));
    const ProductKernel& kernel = kernel_of(weight, x.tokens, false);
    if (!x.tiles) {
        kernel.unordered(stream, weight.format->id,
                         {.weights = bytes_of(weight.data, weight.bytes),
                          .rows = weight.rows,
                          .columns = weight.columns,
                          .scales = result_scales(weight),
                          .activations = x.rows,
                          .tokens = x.tokens,
                          .out = rows_of(y).data,
                          .out_stride = y.stride(),
                          .inspector = inspector});
        return;
    }
    TileArgs args{.weights = bytes_of(weight.data, weight.bytes),
                  .rows = weight.rows,
                  .columns = weight.columns,
                  .scales = result_scales(weight),
                  .x = x.tile_rows,
                  .tokens = x.tokens,
                  .out = rows_of(y).data,
                  .out_stride = y.stride(),
                  .inspector = inspector};
    kernel.tiled(stream, weight.format->id, args, parts_of(x.tokens, kernel.tile_tokens));
}

void CudaOps::multiply(std::span<const VerbCall> calls) {
    const Tensor x = calls.front().x;
    if (x.rows() == 0) return;
    const int64_t before = taken_;
    // Calls share prepared activations: quantised or reordered, row by row or in tiles.
    std::optional<Operand> prepared[2][2];
    for (const VerbCall& call : calls) {
        const bool quantized = !call.matrix->format->is_float;
        const bool tiles = kernel_of(*call.matrix, x.rows(), false).tiled != nullptr;
        std::optional<Operand>& operand = prepared[quantized ? 1 : 0][tiles ? 1 : 0];
        if (!operand) operand = prepare(quantized, tiles, x);
        product(call, *operand);
    }
    taken_ = before;  // the next verb that takes this memory is launched later
}

void CudaOps::expert_product(const VerbCall& call) {
    const ExpertSlots& routing = call.slots;
    slot_product(call, routing.experts, routing.rows * routing.experts_per_row,
                 call.slot_input == SlotInput::row_of_slot ? routing.experts_per_row : 1);
}

// The product of a head is that of an expert whose slots are known: every row of x has a slot, and heads follow one
// another.
void CudaOps::head_product(const VerbCall& call) {
    const int64_t slots = call.x.rows(), heads = call.stack->count;
    CHECK(slots % heads == 0, "there is a row for each head");
    const int64_t before = taken_;
    int32_t* const experts = take_elements<int32_t>(slots);
    if (!settings_.measuring) {
        simt::launch(
            stream_of(settings_.device),
            {.x = parts_of(slots, kPartThreads), .threads = kPartThreads, .name = "fixed_slots"}, fixed_slots_kernel,
            FixedSlotsArgs{
                .expert_of_slot = simt::global(experts, slots), .slots = slots, .experts = static_cast<int>(heads)});
    }
    slot_product(call, experts, slots, 1);
    taken_ = before;
}

// The product of each slot with its expert; a row of x belongs to `slots_of_row` slots.
void CudaOps::slot_product(const VerbCall& call, const int32_t* slot_experts, int64_t slots, int slots_of_row) {
    const WeightStack& experts = *call.stack;
    const Tensor x = call.x, out = call.out;
    const WeightMatrix& first = experts.first;
    CHECK(first.form == StoredForm::device_lanes, "matrices of a device are packed for it");
    CHECK(out.rows() == slots && out.width() == first.rows && slots < kMostRows, "there is a result for each slot");
    const int64_t before = taken_;
    const ProductKernel& kernel = kernel_of(first, slots, true);
    const bool tiles = kernel.tiled != nullptr;
    const Operand operand = prepare(!first.format->is_float, tiles, x);
    const simt::Stream stream = stream_of(settings_.device);
    const Inspector inspector =
        settings_.measuring ? Inspector{} : Inspector::of(control_->failure.global(), next_call(call));
    const auto weights = bytes_of(first.data, experts.stride_bytes * (experts.count - 1) + first.bytes);
    const auto expert_of_slot = simt::global(slot_experts, slots);
    if (!tiles) {
        taken_ = before;  // the next verb that takes this memory is launched later
        if (settings_.measuring) return;
        kernel.unordered(stream, first.format->id,
                         {.weights = weights,
                          .rows = first.rows,
                          .columns = first.columns,
                          .scales = result_scales(experts),
                          .activations = operand.rows,
                          .tokens = slots,
                          .out = rows_of(out).data,
                          .out_stride = out.stride(),
                          .inspector = inspector,
                          .experts = expert_of_slot,
                          .expert_bytes = experts.stride_bytes,
                          .slots_of_row = slots_of_row});
        return;
    }
    const int64_t most_tiles = std::min(experts.count, slots) + slots / kernel.tile_tokens;
    const auto make = [&](int64_t count) { return simt::global(take_elements<int32_t>(count), count); };
    const GroupArgs groups{.expert_of_slot = expert_of_slot,
                           .slots = slots,
                           .experts = static_cast<int>(experts.count),
                           .tile_tokens = kernel.tile_tokens,
                           .tiles = most_tiles,
                           .sorted = make(slots),
                           .tile_expert = make(most_tiles),
                           .tile_first = make(most_tiles),
                           .tile_count = make(most_tiles)};
    if (settings_.measuring) {
        taken_ = before;
        return;
    }
    simt::launch(stream, {.threads = kReduceThreads, .name = "group_slots"}, group_slots_kernel, groups);
    TileArgs args{.weights = weights,
                  .rows = first.rows,
                  .columns = first.columns,
                  .scales = result_scales(experts),
                  .x = operand.tile_rows,
                  .tokens = slots,
                  .out = rows_of(out).data,
                  .out_stride = out.stride(),
                  .inspector = inspector};
    args.tile_expert = groups.tile_expert;
    args.tile_first = groups.tile_first;
    args.tile_count = groups.tile_count;
    args.sorted = groups.sorted;
    args.expert_bytes = experts.stride_bytes;
    args.slots_of_row = slots_of_row;
    kernel.tiled(stream, first.format->id, args, most_tiles);
    taken_ = before;
}

std::span<const CudaOps::Body> CudaOps::product_bodies() {
    static constexpr Body kBodies[] = {
        {Verb::linear, [](CudaOps& cuda, const VerbCall& call) { cuda.multiply(std::span(&call, 1)); },
         [](CudaOps& cuda, std::span<const VerbCall> calls) { cuda.multiply(calls); }},
        {Verb::expert_linear, [](CudaOps& cuda, const VerbCall& call) { cuda.expert_product(call); }},
        {Verb::head_linear, [](CudaOps& cuda, const VerbCall& call) { cuda.head_product(call); }},
    };
    return kBodies;
}

const void* cuda::kernel_of_grouping() { return reinterpret_cast<const void*>(group_slots_kernel); }

}  // namespace invar
