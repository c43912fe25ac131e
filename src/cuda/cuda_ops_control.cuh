// Shared by the parts of CudaOps: its small device arrays outside the scratch (the rows of a batch, page tables,
// the failure cell) with the host's copies of them, and tensors in the form that kernels take. Only cuda_ops*.cu
// include it.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "cuda/attention.cuh"
#include "cuda/cuda_ops.h"
#include "cuda/device_stream.cuh"
#include "cuda/result_scales.cuh"

namespace invar {

template <class T>
struct ControlArray {
    DeviceBytes memory;
    int64_t count = 0;

    T* data() const { return reinterpret_cast<T*>(memory.get()); }
    simt::Global<T> global() const { return simt::global(data(), count); }
    simt::Global<const T> constant() const { return simt::global(static_cast<const T*>(data()), count); }
};

// Ways to tile the rows: for attention one per size of group, and the whole runs of recurrences.
inline constexpr int kTileSets = 8;
inline constexpr int kRopeTables = 8, kMostPairs = cuda::kMostHeadWidth / 2;

// Consecutive rows of one sequence that a kernel takes together, at most `limit` of them.
struct RowTiles {
    ControlArray<int32_t> first, rows;
    int limit = 0;  // 0: this set is free
    int64_t count = 0;
    bool current = false;  // made for the batch that the cells hold
};

struct CudaOps::Control {
    DeviceBytes memory;  // of all arrays below
    // Cells that change from pass to pass stand together, so that they are one upload; page tables change rarely.
    ControlArray<uint64_t> failure;                                      // [1]
    ControlArray<int32_t> tokens, sequences, positions, ends, gathered;  // [rows]
    std::array<RowTiles, kTileSets> tiles;
    // [groups of layers][sequences][pages_of_sequence]; of a recurrence: the slot of the sequence's state, first
    ControlArray<int32_t> pages;
    ControlArray<double> frequencies;  // [kRopeTables][kMostPairs]
    ControlArray<float> chunk_results;
    // For preselect(): the first tokens of each row, then the wrong logits of each row, then all requests and edits.
    // The part from the wrong logits on is one upload before the pass; the part up to and with them is one download
    // after it.
    ControlArray<std::byte> ranking;
    int64_t pages_of_sequence = 0, pages_of_group = 0;

    int64_t table_at(int group, int32_t sequence) const {
        return group * pages_of_group + sequence * pages_of_sequence;
    }
    int64_t lay_out(const CudaOpsSettings& settings, const DeviceBytes& base);

    // The content of the cells before `pages`, and the range of its bytes that the device does not have yet.
    std::vector<std::byte> mirror;
    int64_t changed_first = 0, changed_last = 0;
    // What the arrays hold now.
    std::vector<BatchRow> rows;
    std::vector<int32_t> page_numbers;
    bool pages_current = false;  // for the rows
    std::vector<std::vector<double>> rope_frequencies;

    struct Angles {
        const RopeTable* table = nullptr;
        const float* values = nullptr;
    };
    std::vector<Angles> angles;  // of this pass and batch

    // Writes into the mirror.
    template <class T>
    void write(const ControlArray<T>& array, const T* values, size_t count) {
        const int64_t at = reinterpret_cast<std::byte*>(array.data()) - memory.get();
        const auto bytes = static_cast<int64_t>(count * sizeof(T));
        if (count == 0 || std::memcmp(mirror.data() + at, values, static_cast<size_t>(bytes)) == 0) return;
        std::memcpy(mirror.data() + at, values, static_cast<size_t>(bytes));
        mark(at, bytes);
    }
    void mark(int64_t at, int64_t bytes) {
        const bool none = changed_first == changed_last;
        changed_first = none ? at : std::min(changed_first, at);
        changed_last = none ? at + bytes : std::max(changed_last, at + bytes);
    }

    // With the page tables of one group of layers.
    cuda::BatchRows batch(int group = 0) const {
        return {.tokens = tokens.constant(),
                .sequences = sequences.constant(),
                .positions = positions.constant(),
                .ends = ends.constant(),
                .pages = simt::global(static_cast<const int32_t*>(pages.data()) + table_at(group, 0), pages_of_group),
                .pages_of_sequence = pages_of_sequence};
    }
};

// How often a verb is launched over parts of the elements of a row.
inline int parts_of(int64_t items, int64_t of_part) { return static_cast<int>((items + of_part - 1) / of_part); }

inline cuda::Rows rows_of(Tensor tensor) {
    const int64_t count = tensor.rows() == 0 ? 0 : (tensor.rows() - 1) * tensor.stride() + tensor.width();
    return {.data = simt::global(tensor.device(), count), .stride = tensor.stride()};
}

inline void check_same_shape(Tensor a, Tensor b) {
    CHECK(a.rows() == b.rows() && a.width() == b.width(), "the operands of an elementwise verb have one shape");
}

inline simt::Grid parts_grid(Tensor out, const char* name) {
    return {.x = parts_of(out.width(), cuda::kPartThreads),
            .y = static_cast<int>(out.rows()),
            .threads = cuda::kPartThreads,
            .name = name};
}

// A vector of weights; empty without one.
inline simt::Global<const float> vector_of(const WeightVector* weight) {
    return weight == nullptr ? simt::Global<const float>() : simt::global(weight->data, weight->size);
}

// The scales beside a matrix, or beside a stack's experts.
inline cuda::ResultScales result_scales(const WeightMatrix& weight, int64_t matrices = 1) {
    cuda::ResultScales scales{.tensor = weight.scale, .experts = {}, .rows = {}};
    if (weight.row_scales != nullptr) scales.rows = simt::global(weight.row_scales, matrices * weight.rows);
    return scales;
}
inline cuda::ResultScales result_scales(const WeightStack& stack) {
    cuda::ResultScales scales = result_scales(stack.first, stack.count);
    if (stack.scales != nullptr) scales.experts = simt::global(stack.scales, stack.count);
    return scales;
}

// Chunks of the longest sequence of the batch, rounded up to a power of two, so that a pass of the same shape is the
// same launches until the sequence has doubled; blocks of chunks that do not exist leave at once.
inline int64_t attention_chunks(const Batch& batch) {
    int64_t chunks = 1;
    for (const BatchRow& row : batch.rows) chunks = std::max(chunks, row.position / kPagePositions + 1);
    return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(chunks)));
}

}  // namespace invar
