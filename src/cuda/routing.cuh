// Routing on the device: softmax and ranking of a row's experts (law::softmax, law::top_k, law::renormalise), grouping
// of the slots of each expert for tiles, and the weighted sum of the experts' results. Atomics are on integers only, so
// no result depends on the order in which blocks run.
#pragma once

#include "cuda/row_kernels.cuh"

namespace invar::cuda {

inline constexpr int kMostExperts = 1024;  // a row's probabilities are in shared memory

// Grid: rows, 256 threads. One warp ranks: the largest (probability, -index) comes first.
struct RouteArgs {
    Rows logits;
    int experts = 0, chosen = 0;
    int renormalise = 0;
    Global<int32_t> expert_of_slot;  // [rows][chosen]
    Global<float> weight_of_slot;    // [rows][chosen]
    Global<float> margins;           // [rows]
    Inspector inspector;
};

// The next in rank among the warp's experts: the most probable one not taken, and of equals the lowest index.
struct Ranked {
    uint32_t bits = 0;  // bits of the probability, which is not negative, so that they order like the numbers
    int32_t expert = kMostExperts;
};
SIMT_DEVICE bool before(const Ranked& a, const Ranked& b) {
    return a.bits != b.bits ? a.bits > b.bits : a.expert < b.expert;
}
SIMT_DEVICE Ranked best_of_warp(Ranked best) {
    for (int bits = 16; bits > 0; bits /= 2) {
        const Ranked other{simt::shuffle_xor(best.bits, bits), simt::shuffle_xor(best.expert, bits)};
        if (before(other, best)) best = other;
    }
    return best;
}

// The softmax of a row in shared memory [experts]; every thread of the block calls it.
SIMT_DEVICE void softmax_of_row(const RouteArgs& args, int64_t row, simt::Shared<float> probabilities,
                                simt::Shared<float> lanes) {
    const Global<float> logits = args.logits.row(row);
    float largest = logits[0];
    for (int i = 1; i < args.experts; ++i) {
        const float logit = logits[i];
        largest = logit > largest ? logit : largest;
    }
    float lane = 0.0f;
    for (int i = simt::thread_index(); i < args.experts; i += kReduceThreads) {
        const float e = law::steps::exp(logits[i] - largest);
        probabilities[i] = e;
        lane = lane + e;
    }
    const float total = fold_lanes(lane, lanes);
    for (int i = simt::thread_index(); i < args.experts; i += kReduceThreads) {
        const float probability = simt::divide(probabilities[i], total);
        probabilities[i] = probability;
        inspect(args.inspector, row, i, probability);
    }
    simt::sync_block();
}

SIMT_KERNEL(kReduceThreads) route_kernel(RouteArgs args) {
    SIMT_SHARED(float, probabilities, kMostExperts);
    SIMT_SHARED(float, lanes, kReduceThreads);
    const int64_t row = simt::block_index();
    softmax_of_row(args, row, probabilities, lanes);
    if (simt::warp_index() != 0) return;
    Ranked last{0xFFFFFFFFu, -1};  // ranks before every expert
    float total = 0.0f, last_weight = 0.0f;
    for (int rank = 0; rank <= args.chosen && rank < args.experts; ++rank) {
        Ranked best;
        for (int i = simt::lane_index(); i < args.experts; i += simt::kWarp) {
            const Ranked candidate{simt::as_bits(probabilities[i]), i};
            if (before(last, candidate) && before(candidate, best)) best = candidate;
        }
        last = best_of_warp(best);
        const float weight = simt::as_float(last.bits);
        if (rank == args.chosen) {  // the best one left out
            if (simt::lane_index() == 0) args.margins[row] = last_weight - weight;
            break;
        }
        total = rank == 0 ? weight : total + weight;
        last_weight = weight;
        if (simt::lane_index() == 0) {
            args.expert_of_slot[row * args.chosen + rank] = last.expert;
            args.weight_of_slot[row * args.chosen + rank] = weight;
        }
    }
    if (simt::lane_index() != 0) return;
    if (args.chosen == args.experts) args.margins[row] = last_weight;
    for (int rank = 0; rank < args.chosen; ++rank) {
        const float weight = args.weight_of_slot[row * args.chosen + rank];
        const float result = args.renormalise != 0 ? simt::divide(weight, total) : weight;
        args.weight_of_slot[row * args.chosen + rank] = result;
        inspect(args.inspector, row, args.experts + rank, result);
    }
}

// The slots of each expert, in rising order, and the tiles they make. One block of 256 threads.
struct GroupArgs {
    Global<const int32_t> expert_of_slot;  // [slots]
    int64_t slots = 0;
    int experts = 0;
    int tile_tokens = 0;
    int64_t tiles = 0;                                    // room for at least experts + slots / tile_tokens
    Global<int32_t> sorted;                               // [slots]
    Global<int32_t> tile_expert, tile_first, tile_count;  // [tiles]; expert -1: no such tile
};

SIMT_KERNEL(kReduceThreads) group_slots_kernel(GroupArgs args) {
    SIMT_SHARED(int32_t, count, kMostExperts);
    SIMT_SHARED(int32_t, first, kMostExperts);
    SIMT_SHARED(int32_t, tiles_used, 1);
    const int thread = simt::thread_index();
    for (int i = thread; i < args.experts; i += kReduceThreads) count[i] = 0;
    simt::sync_block();
    for (int64_t slot = thread; slot < args.slots; slot += kReduceThreads) {
        const int32_t expert = args.expert_of_slot[slot];
        simt::atomic_add(count + expert, 1);
    }
    simt::sync_block();
    if (thread == 0) {
        int32_t slots = 0, tiles = 0;
        for (int i = 0; i < args.experts; ++i) {
            first[i] = slots;
            const int32_t of_expert = count[i];
            for (int32_t from = 0; from < of_expert; from += args.tile_tokens, ++tiles) {
                const int32_t left = of_expert - from;
                args.tile_expert[tiles] = i;
                args.tile_first[tiles] = slots + from;
                args.tile_count[tiles] = left < args.tile_tokens ? left : args.tile_tokens;
            }
            slots += of_expert;
        }
        tiles_used[0] = tiles;
    }
    simt::sync_block();
    for (int64_t i = int64_t{tiles_used[0]} + thread; i < args.tiles; i += kReduceThreads) args.tile_expert[i] = -1;
    for (int i = thread; i < args.experts; i += kReduceThreads) {
        int32_t place = first[i];
        for (int64_t slot = 0; slot < args.slots; ++slot) {
            if (args.expert_of_slot[slot] == i) args.sorted[place++] = static_cast<int32_t>(slot);
        }
    }
}

// y[row] = fma(weight_j, slots[row, j], y[row]) in rank order, from +0. Grid: (parts of a row, rows).
struct CombineArgs {
    Rows slots, y;
    Global<const float> weight_of_slot;
    int chosen = 0;
    int64_t width = 0;
    Inspector inspector;
};

SIMT_KERNEL(kPartThreads) combine_kernel(CombineArgs args) {
    const int64_t row = simt::block_index_y();
    const int64_t i = int64_t{simt::block_index()} * kPartThreads + simt::thread_index();
    if (i >= args.width) return;
    float y = 0.0f;
    for (int j = 0; j < args.chosen; ++j) {
        const int64_t slot = row * args.chosen + j;
        const float weight = args.weight_of_slot[slot], value = args.slots.row(slot)[i];
        y = simt::fma(weight, value, y);
    }
    args.y.row(row)[i] = y;
    inspect(args.inspector, row, i, y);
}

}  // namespace invar::cuda
