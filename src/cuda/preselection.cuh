// Finds the first tokens of a row of logits by rank (logit descending, token ascending), after bans, biases, penalties
// and the temperature: steps 1 to 4 of docs/arithmetic.md, section 7. Blocks sort 1024 keys each and keep the first
// `count`, round after round until one block is left. A key orders like the rank, so the order of blocks and threads
// does not show.
#pragma once

#include "cuda/row_kernels.cuh"
#include "ops/preselection.h"

namespace invar::cuda {

inline constexpr int kSortKeys = 1024, kSortThreads = 256;
inline constexpr uint64_t kNoKey = 0;  // ranks behind every token

// The parameters of a row; its edits are [first_edit, first_edit + edits).
struct PreselectRow {
    int32_t first_edit, edits;
    float repetition, frequency, presence, temperature;
};

struct PreselectArgs {
    Rows logits;
    int64_t vocabulary = 0;
    Global<const PreselectRow> rows;
    Global<const LogitEdit> edits;
    int count = 1;
    Global<uint64_t> wrong;  // [rows]: the least token << 32 | bits of a logit that is not below +infinity
    Global<uint64_t> keys;   // [rows][blocks][count]
};

// Orders by descending floats, then ascending tokens; zeros of either sign are equal.
SIMT_DEVICE uint64_t rank_key(float logit, int64_t token) {
    const uint32_t bits = logit == 0.0f ? 0 : simt::as_bits(logit);
    const uint32_t order = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
    return static_cast<uint64_t>(order) << 32 | (0xFFFFFFFFu - static_cast<uint32_t>(token));
}

// A bitonic sort, descending.
SIMT_DEVICE void sort_keys(simt::Shared<uint64_t> keys) {
    for (int size = 2; size <= kSortKeys; size *= 2) {
        for (int stride = size / 2; stride > 0; stride /= 2) {
            simt::sync_block();
            for (int pair = simt::thread_index(); pair < kSortKeys / 2; pair += kSortThreads) {
                const int low = pair / stride * 2 * stride + pair % stride, high = low + stride;
                const uint64_t a = keys[low], b = keys[high];
                const bool descending = (low & size) == 0;
                if ((a < b) != descending) continue;
                keys[low] = b;
                keys[high] = a;
            }
        }
    }
    simt::sync_block();
}

SIMT_DEVICE float edited(float logit, const LogitEdit& edit, const PreselectRow& row) {
    if (edit.banned != 0) logit = simt::as_float(0xFF800000u);  // -infinity
    if (edit.has_bias != 0) logit = logit + edit.bias;
    if (edit.seen == 0) return logit;
    logit = logit > 0.0f ? simt::divide(logit, row.repetition) : logit * row.repetition;
    logit = logit - row.frequency * static_cast<float>(edit.seen);
    return logit - row.presence;
}

// Grid: (ceil(vocabulary / kSortKeys), rows).
SIMT_KERNEL(kSortThreads) preselect_kernel(PreselectArgs args) {
    SIMT_SHARED(float, logits, kSortKeys);
    SIMT_SHARED(uint64_t, keys, kSortKeys);
    const int64_t row_index = simt::block_index_y(), first = int64_t{simt::block_index()} * kSortKeys;
    const PreselectRow row = args.rows[row_index];
    for (int i = simt::thread_index(); i < kSortKeys; i += kSortThreads) {
        float logit = 0.0f;
        if (first + i < args.vocabulary) logit = args.logits.row(row_index)[first + i];
        if (!(logit < simt::as_float(0x7F800000u)))
            simt::atomic_min(args.wrong + row_index, static_cast<uint64_t>(first + i) << 32 | simt::as_bits(logit));
        logits[i] = logit;
    }
    simt::sync_block();
    for (int i = simt::thread_index(); i < row.edits; i += kSortThreads) {
        const LogitEdit edit = args.edits[row.first_edit + i];
        const int64_t place = edit.token - first;
        if (place < 0 || place >= kSortKeys) continue;
        const float before = logits[place];
        logits[place] = edited(before, edit, row);
    }
    simt::sync_block();
    for (int i = simt::thread_index(); i < kSortKeys; i += kSortThreads) {
        const float logit = logits[i];
        const float scaled = row.temperature == 0.0f ? logit : simt::divide(logit, row.temperature);
        keys[i] = first + i < args.vocabulary ? rank_key(scaled, first + i) : kNoKey;
    }
    sort_keys(keys);
    const int64_t blocks = (args.vocabulary + kSortKeys - 1) / kSortKeys;
    const auto out = args.keys + (row_index * blocks + simt::block_index()) * args.count;
    for (int i = simt::thread_index(); i < args.count; i += kSortThreads) out[i] = keys[i];
}

// Grid: (ceil(keys / kSortKeys), rows).
struct KeepFirstArgs {
    Global<const uint64_t> from;  // [rows][keys]
    int64_t keys = 0;
    int count = 1;
    Global<uint64_t> to;  // [rows][blocks][count]
};

SIMT_KERNEL(kSortThreads) keep_first_kernel(KeepFirstArgs args) {
    SIMT_SHARED(uint64_t, keys, kSortKeys);
    const int64_t row = simt::block_index_y(), first = int64_t{simt::block_index()} * kSortKeys;
    for (int i = simt::thread_index(); i < kSortKeys; i += kSortThreads) {
        uint64_t key = kNoKey;
        if (first + i < args.keys) key = args.from[row * args.keys + first + i];
        keys[i] = key;
    }
    sort_keys(keys);
    const int64_t blocks = (args.keys + kSortKeys - 1) / kSortKeys;
    const auto out = args.to + (row * blocks + simt::block_index()) * args.count;
    for (int i = simt::thread_index(); i < args.count; i += kSortThreads) out[i] = keys[i];
}

}  // namespace invar::cuda
