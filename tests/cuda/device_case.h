// Shared by the tests of device kernels: arrays with nothing beside them that kernels may touch, an emulator whose
// faults fail the test, and products in the device's layout beside the definition's results.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "arithmetic/quantize.h"
#include "cpu/comparison.h"
#include "cpu/linear_case.h"
#include "cuda/failure.cuh"
#include "cuda/result_scales.cuh"
#include "cuda/simt.h"
#include "cuda/weight_layout.h"
#include "cuda/weight_packing.h"

namespace invar {

// `count` elements at a 256-byte boundary, like device memory, with nothing behind them that a kernel may touch.
template <class T>
class DeviceArray {
  public:
    explicit DeviceArray(int64_t count = 0) : count_(count), bytes_(aligned_bytes(count * int64_t{sizeof(T)} + 256)) {
        // What nobody wrote must not look like a result.
        std::memset(static_cast<void*>(data()), 0xFF, static_cast<size_t>(count) * sizeof(T));
    }
    explicit DeviceArray(const std::vector<T>& values) : DeviceArray(static_cast<int64_t>(values.size())) {
        if (!values.empty()) std::memcpy(static_cast<void*>(data()), values.data(), values.size() * sizeof(T));
    }
    T* data() const {
        auto address = reinterpret_cast<uintptr_t>(bytes_.get());
        return reinterpret_cast<T*>((address + 255) / 256 * 256);
    }
    int64_t count() const { return count_; }
    T& operator[](int64_t i) const { return data()[i]; }
    simt::Global<T> global() const { return simt::global(data(), count_); }
    simt::Global<const T> constant() const { return simt::global(static_cast<const T*>(data()), count_); }

  private:
    int64_t count_ = 0;
    AlignedBytes bytes_;
};

// An emulator, and the cell for non-finite results.
struct EmulatedDevice {
    explicit EmulatedDevice(simt::Emulator::Order order = simt::Emulator::Order::rising)
        : emulator(std::make_unique<simt::Emulator>(order)), cell(1) {
        cell[0] = cuda::kNoFailure;
    }
    simt::Stream stream() const { return emulator.get(); }
    cuda::Inspector inspector() const { return cuda::Inspector::of(cell.global(), 0); }
    void expect_no_fault() const {
        EXPECT_FALSE(emulator->fault().has_value()) << emulator->fault()->kernel << ": " << emulator->fault()->message;
    }

    std::unique_ptr<simt::Emulator> emulator;
    DeviceArray<uint64_t> cell;
};

inline DeviceArray<uint8_t> pack_for_device(const Format& format, const std::byte* stored, int64_t rows,
                                            int64_t columns) {
    DeviceArray<uint8_t> packed(cuda::device_weight_bytes(format.id, rows, columns));
    cuda::pack_weights(format, stored, rows, columns, 0, cuda::groups_of(rows),
                       reinterpret_cast<std::byte*>(packed.data()));
    return packed;
}

// A product: weights as in a file and packed, activations, and what the definition gives.
struct DeviceProduct {
    const Format* format = nullptr;
    int64_t rows = 0, columns = 0, tokens = 0;
    float tensor_scale = 1;
    DeviceArray<float> row_scales;  // [rows] or none
    std::vector<std::byte> stored;
    DeviceArray<uint8_t> packed;
    DeviceArray<float> x;
    std::vector<float> expected;  // [tokens, rows]

    cuda::ResultScales scales() const {
        if (row_scales.count() == 0) return {.tensor = tensor_scale, .experts = {}, .rows = {}};
        return {.tensor = tensor_scale, .experts = {}, .rows = row_scales.constant()};
    }
};

inline std::vector<std::byte> float_weights(const Format& format, int64_t rows, int64_t columns, WeightKind kind,
                                            uint64_t seed) {
    if (format.block_weights > 1 ||
        (format.block_bytes == 1 && kind != WeightKind::ordinary)) {  // codes of every value
        std::vector<std::byte> stored = random_weights(format, rows, columns, kind, seed);
        share_scales(format, rows, columns, stored.data());
        return stored;
    }
    std::mt19937 random(static_cast<uint32_t>(seed));
    std::vector<float> values = make_inputs(random, rows * columns, Inputs::hard);
    std::vector<std::byte> stored(static_cast<size_t>(rows * format.row_bytes(columns)));
    format.encode(values.data(), rows * columns, nullptr, stored.data());
    return stored;
}

inline DeviceProduct make_product(const Format& format, int64_t rows, int64_t columns, int64_t tokens, WeightKind kind,
                                  uint64_t seed) {
    DeviceProduct p;
    p.format = &format;
    p.rows = rows;
    p.columns = columns;
    p.tokens = tokens;
    // Odd seeds have scales beside the format: of the tensor, of its rows, or of both.
    p.tensor_scale = seed % 4 == 1 || seed % 8 == 3 ? 0.37f : 1.0f;
    if (seed % 4 == 3) p.row_scales = DeviceArray<float>(random_row_scales(rows, seed));
    p.stored = format.is_float ? float_weights(format, rows, columns, kind, seed)
                               : random_weights(format, rows, columns, kind, seed);
    p.packed = pack_for_device(format, p.stored.data(), rows, columns);
    std::mt19937 random(static_cast<uint32_t>(seed));
    const std::vector<float> x = format.is_float ? make_inputs(random, tokens * columns, Inputs::hard)
                                                 : random_activations(tokens, columns, seed + 1);
    p.x = DeviceArray<float>(x);
    p.expected.resize(static_cast<size_t>(tokens * rows));
    std::vector<QuantizedBlock> blocks(static_cast<size_t>(columns / kDotBlock));
    for (int64_t t = 0; t < tokens; ++t) {
        const float* row_of_x = x.data() + t * columns;
        if (!format.is_float) quantize_row(row_of_x, columns, blocks.data());
        for (int64_t row = 0; row < rows; ++row) {
            const std::byte* stored = p.stored.data() + row * format.row_bytes(columns);
            const float y = format.is_float ? dot_float(format, stored, row_of_x, columns)
                                            : dot_quantized(format, stored, blocks.data(), columns);
            const WeightMatrix weight{.scale = p.tensor_scale,
                                      .row_scales = p.row_scales.count() == 0 ? nullptr : p.row_scales.data()};
            p.expected[static_cast<size_t>(t * rows + row)] = scaled(weight, row, y);
        }
    }
    return p;
}

}  // namespace invar
