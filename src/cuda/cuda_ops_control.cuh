// What the two halves of CudaOps share: its small device arrays outside the scratch (the rows of a batch, page tables,
// the failure cell) with the host's copies of them, and tensors as kernels take them. For cuda_ops*.cu only.
#pragma once

#include "cuda/attention.cuh"
#include "cuda/cuda_ops.h"
#include "cuda/device_stream.cuh"

namespace invar {

template <class T>
struct ControlArray {
    DeviceBytes memory;
    int64_t count = 0;

    T* data() const { return reinterpret_cast<T*>(memory.get()); }
    simt::Global<T> global() const { return simt::global(data(), count); }
    simt::Global<const T> constant() const { return simt::global(static_cast<const T*>(data()), count); }
};

struct CudaOps::Control {
    ControlArray<uint64_t> failure;                                                       // [1]
    ControlArray<int32_t> tokens, sequences, positions, tile_first, tile_rows, gathered;  // [rows]
    ControlArray<int32_t> pages;  // [sequences][pages_of_sequence]
    ControlArray<float> chunk_results;
    int64_t pages_of_sequence = 0;

    // What the arrays hold now.
    std::vector<BatchRow> rows;
    std::vector<int32_t> page_numbers;
    int tile_limit = 0;  // rows of a tile
    int64_t tiles = 0;

    struct Angles {
        const RopeTable* table = nullptr;
        const float* values = nullptr;
    };
    std::vector<Angles> angles;  // of this pass and batch

    cuda::BatchRows batch() const {
        return {.tokens = tokens.constant(),
                .sequences = sequences.constant(),
                .positions = positions.constant(),
                .pages = pages.constant(),
                .pages_of_sequence = pages_of_sequence};
    }
};

inline cuda::Rows rows_of(Tensor tensor) {
    const int64_t count = tensor.rows() == 0 ? 0 : (tensor.rows() - 1) * tensor.stride() + tensor.width();
    return {.data = simt::global(tensor.device(), count), .stride = tensor.stride()};
}

inline int parts_of(int64_t items, int64_t of_part) { return static_cast<int>((items + of_part - 1) / of_part); }

}  // namespace invar
