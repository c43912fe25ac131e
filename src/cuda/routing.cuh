// Routing on the device: scores, ranking and weights of a row's experts (law::route), grouping of the slots of each
// expert for tiles, and the weighted sum of the experts' results. Atomics are on integers only, so no result depends on
// the order in which blocks run.
#pragma once

#include "arithmetic/routing.h"
#include "cuda/row_kernels.cuh"

namespace invar::cuda {

inline constexpr int kMostExperts = 1024;  // a row's scores are in shared memory

// law::route. Grid: rows, 256 threads. One warp ranks: the largest (rank, -index) comes first.
struct RouteArgs {
    Rows logits;
    int experts = 0;
    RouteSpec spec;
    Global<const float> selection_bias, factors;  // [experts] or empty
    Global<int32_t> expert_of_slot;               // [rows][chosen]
    Global<float> weight_of_slot;                 // [rows][chosen]
    Global<float> margins;                        // [rows]
    Inspector inspector;
};

// The next in rank among the warp's experts: the best one not taken, and of equals the lowest index.
struct Ranked {
    uint32_t key = 0;  // orders like the number that it is made of; both zeros have one
    int32_t expert = kMostExperts;
};
SIMT_DEVICE uint32_t ranking_key(float value) {
    const uint32_t bits = value == 0.0f ? 0u : simt::as_bits(value);
    return bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
}
SIMT_DEVICE bool before(const Ranked& a, const Ranked& b) {
    return a.key != b.key ? a.key > b.key : a.expert < b.expert;
}
SIMT_DEVICE Ranked best_of_warp(Ranked best) {
    for (int bits = 16; bits > 0; bits /= 2) {
        const Ranked other{simt::shuffle_xor(best.key, bits), simt::shuffle_xor(best.expert, bits)};
        if (before(other, best)) best = other;
    }
    return best;
}

// The scores of a row in shared memory [experts]; every thread of the block calls it.
SIMT_DEVICE void scores_of_row(const RouteArgs& args, int64_t row, simt::Shared<float> scores,
                               simt::Shared<float> lanes) {
    const Global<float> logits = args.logits.row(row);
    const bool softmax = args.spec.scoring == RouteSpec::Scoring::softmax;
    float total = 0.0f;
    if (softmax) {
        float largest = logits[0], lane = 0.0f;
        for (int i = 1; i < args.experts; ++i) {
            const float logit = logits[i];
            largest = logit > largest ? logit : largest;
        }
        for (int i = simt::thread_index(); i < args.experts; i += kReduceThreads) {
            const float e = law::steps::exp(logits[i] - largest);
            scores[i] = e;
            lane = lane + e;
        }
        total = fold_lanes(lane, lanes);
    }
    for (int i = simt::thread_index(); i < args.experts; i += kReduceThreads) {
        float score = logits[i];
        if (softmax) {
            const float e = scores[i];
            score = simt::divide(e, total);
        } else if (args.spec.scoring == RouteSpec::Scoring::sigmoid) {
            score = law::steps::sigmoid(score);
        }
        scores[i] = score;
        inspect(args.inspector, row, i, score);
    }
}

// Ranks the experts of the groups that are not used below all others. Every thread calls it; ranks are complete.
SIMT_DEVICE void leave_out_groups(const RouteArgs& args, simt::Shared<float> ranks, simt::Shared<float> group_scores) {
    const int groups = args.spec.groups, size = args.experts / groups;
    const bool two = args.spec.group_score == RouteSpec::GroupScore::sum_of_best_two && size > 1;
    for (int group = simt::thread_index(); group < groups; group += kReduceThreads) {
        float best = ranks[group * size], second = simt::as_float(0xFF800000u);  // -infinity
        for (int i = 1; i < size; ++i) {
            const float rank = ranks[group * size + i];
            if (rank > best) {
                second = best;
                best = rank;
            } else if (rank > second) {
                second = rank;
            }
        }
        group_scores[group] = two ? best + second : best;
    }
    simt::sync_block();
    for (int i = simt::thread_index(); i < args.experts; i += kReduceThreads) {
        const int group = i / size;
        const float mine = group_scores[group];
        int better = 0;
        for (int other = 0; other < groups; ++other) {
            const float score = group_scores[other];
            if (score > mine || (score == mine && other < group)) ++better;
        }
        if (better >= args.spec.groups_used) ranks[i] = simt::as_float(0xFF800000u);
    }
    simt::sync_block();
}

// The chosen experts in rank order, by the first warp; returns the margin.
SIMT_DEVICE float rank_experts(const RouteArgs& args, simt::Shared<float> ranks, simt::Shared<int32_t> chosen) {
    Ranked last{0xFFFFFFFFu, -1};  // ranks before every expert
    float last_rank = 0.0f, margin = 0.0f;
    for (int place = 0; place <= args.spec.experts_per_row && place < args.experts; ++place) {
        Ranked best;
        for (int i = simt::lane_index(); i < args.experts; i += simt::kWarp) {
            const float rank = ranks[i];
            const Ranked candidate{ranking_key(rank), i};
            if (before(last, candidate) && before(candidate, best)) best = candidate;
        }
        last = best_of_warp(best);
        const float rank = ranks[last.expert];
        margin = rank;
        if (place == args.spec.experts_per_row) {  // the best one left out
            margin = last_rank - rank;
            break;
        }
        last_rank = rank;
        if (simt::lane_index() == 0) chosen[place] = last.expert;
    }
    // An expert that could not be chosen is no near tie.
    return margin == simt::as_float(0x7F800000u) ? last_rank : margin;
}

// What a chosen expert weighs before any division; `largest` is that of a softmax of the chosen.
SIMT_DEVICE float weight_of(const RouteArgs& args, simt::Shared<float> scores, int32_t expert, float largest) {
    const float score = scores[expert];
    if (args.spec.scoring == RouteSpec::Scoring::softmax_of_chosen) return law::steps::exp(score - largest);
    if (args.spec.scoring == RouteSpec::Scoring::sigmoid_of_chosen) return law::steps::sigmoid(score);
    return score;
}

// The sum by which the weights are divided: of the chosen scores in rank order, or of their softmax. 1 if there is no
// division. `largest` is the largest chosen score.
SIMT_DEVICE float sum_of_chosen(const RouteArgs& args, simt::Shared<float> scores, simt::Shared<int32_t> chosen,
                                simt::Shared<float> lanes, float& largest) {
    const int count = args.spec.experts_per_row;
    const int32_t first = chosen[0];
    largest = scores[first];
    if (args.spec.scoring == RouteSpec::Scoring::softmax_of_chosen) {
        // A bias may have ranked them, so the first is not always the largest.
        for (int j = 1; j < count; ++j) {
            const int32_t expert = chosen[j];
            const float score = scores[expert];
            largest = score > largest ? score : largest;
        }
        float lane = 0.0f;
        for (int j = simt::thread_index(); j < count; j += kReduceThreads) {
            const int32_t expert = chosen[j];
            lane = lane + law::steps::exp(scores[expert] - largest);
        }
        return fold_lanes(lane, lanes);
    }
    if (!args.spec.renormalise) return 1.0f;
    float total = weight_of(args, scores, first, largest);
    for (int j = 1; j < count; ++j) {
        const int32_t expert = chosen[j];
        total = total + weight_of(args, scores, expert, largest);
    }
    return args.spec.sum_floor != 0.0f ? total + args.spec.sum_floor : total;
}

SIMT_KERNEL(kReduceThreads) route_kernel(RouteArgs args) {
    SIMT_SHARED(float, scores, kMostExperts);
    SIMT_SHARED(float, ranks, kMostExperts);
    SIMT_SHARED(int32_t, chosen, kMostExperts);
    SIMT_SHARED(float, lanes, kReduceThreads);
    SIMT_SHARED(float, group_scores, kMostExperts);
    SIMT_SHARED(float, chosen_lanes, kReduceThreads);
    const int64_t row = simt::block_index();
    const RouteSpec& spec = args.spec;
    const int count = spec.experts_per_row;
    scores_of_row(args, row, scores, lanes);
    for (int i = simt::thread_index(); i < args.experts; i += kReduceThreads) {
        float rank = scores[i];  // this thread's own
        if (!simt::is_null(args.selection_bias)) rank = rank + args.selection_bias[i];
        ranks[i] = rank;
    }
    simt::sync_block();
    if (spec.groups > 1) leave_out_groups(args, ranks, group_scores);
    if (simt::warp_index() == 0) {
        const float margin = rank_experts(args, ranks, chosen);
        if (simt::lane_index() == 0) args.margins[row] = margin;
    }
    simt::sync_block();
    float largest = 0.0f;
    const float total = sum_of_chosen(args, scores, chosen, chosen_lanes, largest);
    const bool softmax_of_chosen = spec.scoring == RouteSpec::Scoring::softmax_of_chosen;
    for (int j = simt::thread_index(); j < count; j += kReduceThreads) {
        const int32_t expert = chosen[j];
        float weight = weight_of(args, scores, expert, largest);
        if (softmax_of_chosen || spec.renormalise) weight = simt::divide(weight, total);
        if (spec.factor != 1.0f) weight = weight * spec.factor;
        if (!simt::is_null(args.factors)) weight = weight * args.factors[expert];
        args.expert_of_slot[row * count + j] = expert;
        args.weight_of_slot[row * count + j] = weight;
        inspect(args.inspector, row, args.experts + j, weight);
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

// Slot s belongs to expert s mod experts: the heads of a row, one after the other. Grid: parts of the slots.
struct FixedSlotsArgs {
    Global<int32_t> expert_of_slot;  // [slots]
    int64_t slots = 0;
    int experts = 0;
};

SIMT_KERNEL(kPartThreads) fixed_slots_kernel(FixedSlotsArgs args) {
    const int64_t slot = int64_t{simt::block_index()} * kPartThreads + simt::thread_index();
    if (slot < args.slots) args.expert_of_slot[slot] = static_cast<int32_t>(slot % args.experts);
}

// y[row] = fma(weight_j, slots[row, j], y[row]) in rank order, from +0. Grid: (parts of a row, rows).
struct CombineArgs {
    Rows slots, y;
    Global<const float> weight_of_slot;  // empty: 1
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
        float weight = 1.0f;
        if (!simt::is_null(args.weight_of_slot)) weight = args.weight_of_slot[slot];
        const float value = args.slots.row(slot)[i];
        y = simt::fma(weight, value, y);
    }
    args.y.row(row)[i] = y;
    inspect(args.inspector, row, i, y);
}

// out[slot] = x[row of the slot] * weight of the slot. Grid: (parts of a row, slots).
struct WeighArgs {
    Rows x, out;
    Global<const float> weight_of_slot;
    int chosen = 1;
    int64_t width = 0;
    Inspector inspector;
};

SIMT_KERNEL(kPartThreads) weigh_slots_kernel(WeighArgs args) {
    const int64_t slot = simt::block_index_y();
    const int64_t i = int64_t{simt::block_index()} * kPartThreads + simt::thread_index();
    if (i >= args.width) return;
    const float weight = args.weight_of_slot[slot], x = args.x.row(slot / args.chosen)[i];
    const float result = x * weight;
    args.out.row(slot)[i] = result;
    inspect(args.inspector, slot, i, result);
}

}  // namespace invar::cuda
