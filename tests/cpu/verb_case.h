// Shared by the tests of whole verbs: backends of every tier and thread count, weights with their bytes, tensors of
// random numbers, caches filled with random keys and values.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cpu/comparison.h"
#include "cpu/cpu_ops.h"
#include "cpu/linear_case.h"
#include "cpu/reference_ops.h"
#include "layout/rows4.h"

namespace invar {

// A CpuOps with its threads.
struct Backend {
    Isa isa = Isa::scalar;
    std::unique_ptr<ThreadPool> pool;
    std::unique_ptr<CpuOps> ops;

    std::string name() const { return std::string(isa_name(isa)) + " x " + std::to_string(pool->threads()); }
};

inline Backend make_backend(Isa isa, int threads, int64_t scratch_bytes = int64_t{256} << 20, bool measuring = false,
                            const std::string& forced_linear = "") {
    Backend backend;
    backend.isa = isa;
    auto pool = ThreadPool::create({.threads = threads, .pin = false, .spin_microseconds = 50});
    CHECK(pool.has_value(), "a few threads can be started");
    backend.pool = std::move(*pool);
    auto ops = CpuOps::create({.pool = *backend.pool,
                               .highest = isa,
                               .forced_linear = forced_linear,
                               .scratch_bytes = scratch_bytes,
                               .measuring = measuring});
    CHECK(ops.has_value(), "the tests' scratch fits in memory");
    backend.ops = std::move(*ops);
    return backend;
}

// Every tier of this machine with each number of threads; made once, as starting threads takes longer than a small
// verb.
inline std::vector<Backend>& all_backends() {
    static std::vector<Backend> backends = [] {
        std::vector<Backend> made;
        for (const Isa isa : supported_isas()) {
            for (const int threads : {1, 2, 3, 8}) made.push_back(make_backend(isa, threads));
        }
        return made;
    }();
    return backends;
}

struct OwnedMatrix {
    std::vector<std::byte> memory;
    WeightMatrix view;
};

// [count][rows, columns] of random numbers, 64-byte aligned; experts one after the other.
struct OwnedStack {
    std::vector<std::byte> memory;
    WeightStack view;
    std::vector<float> scales, row_scales;
};

// Scales beside the format, of each expert and of each of its rows.
inline void give_scales(OwnedStack& stack, std::mt19937& random) {
    std::uniform_real_distribution<float> scale(0.25f, 4.0f);
    stack.scales.resize(static_cast<size_t>(stack.view.count));
    stack.row_scales.resize(static_cast<size_t>(stack.view.count * stack.view.first.rows));
    for (std::vector<float>* values : {&stack.scales, &stack.row_scales}) {
        for (float& value : *values) value = scale(random);
    }
    stack.view.scales = stack.scales.data();
    stack.view.first.row_scales = stack.row_scales.data();
}

inline OwnedStack make_stack(std::mt19937& random, FormatId id, StoredForm form, int64_t count, int64_t rows,
                             int64_t columns, float size = 1.0f) {
    const Format& format_of = format(id);
    OwnedStack stack;
    const int64_t matrix_bytes =
        form == StoredForm::rows4 ? rows4_bytes(format_of, rows, columns) : format_of.row_bytes(columns) * rows;
    const int64_t stride = Arena::rounded(matrix_bytes);
    stack.memory.resize(static_cast<size_t>(stride * count) + 64);
    std::byte* data = stack.memory.data() + (64 - reinterpret_cast<uintptr_t>(stack.memory.data()) % 64) % 64;
    for (int64_t i = 0; i < count; ++i) {
        std::vector<float> values = make_inputs(random, rows * columns);
        for (float& value : values) value *= size / std::sqrt(static_cast<float>(columns));
        std::vector<std::byte> stored(static_cast<size_t>(format_of.row_bytes(columns) * rows));
        for (int64_t row = 0; row < rows; ++row) {
            format_of.encode(values.data() + row * columns, columns, nullptr,
                             stored.data() + row * format_of.row_bytes(columns));
        }
        share_scales(format_of, rows, columns, stored.data());
        if (form == StoredForm::rows4) {
            pack_rows4(format_of, stored.data(), rows, columns, 0, (rows + kRowGroup - 1) / kRowGroup,
                       data + i * stride);
        } else {
            std::memcpy(data + i * stride, stored.data(), stored.size());
        }
    }
    stack.view.first = {.id = {},
                        .format = &format_of,
                        .form = form,
                        .rows = rows,
                        .columns = columns,
                        .data = data,
                        .bytes = matrix_bytes};
    stack.view.count = count;
    stack.view.stride_bytes = stride;
    return stack;
}

inline OwnedMatrix make_matrix(std::mt19937& random, FormatId id, StoredForm form, int64_t rows, int64_t columns,
                               float size = 1.0f) {
    OwnedStack stack = make_stack(random, id, form, 1, rows, columns, size);
    return {.memory = std::move(stack.memory), .view = stack.view.first};
}

inline void fill(Tensor tensor, const std::vector<float>& values) {
    for (int64_t row = 0; row < tensor.rows(); ++row) {
        std::memcpy(tensor.host_row(row), values.data() + row * tensor.width(),
                    static_cast<size_t>(tensor.width()) * sizeof(float));
    }
}

inline Tensor make_tensor(Ops& ops, int64_t rows, int64_t width, const std::vector<float>& values) {
    const Tensor tensor = ops.scratch(rows, width);
    fill(tensor, values);
    return tensor;
}

inline void compare(Tensor expected, Tensor actual, Comparison& comparison) {
    for (int64_t row = 0; row < expected.rows(); ++row)
        comparison.add(expected.host_row(row), actual.host_row(row), expected.width());
}

inline bool same_failure(const std::optional<NonFinite>& a, const std::optional<NonFinite>& b) {
    if (a.has_value() != b.has_value()) return false;
    if (!a) return true;
    const bool same_value = (std::isnan(a->value) && std::isnan(b->value)) || a->value == b->value;
    return a->verb == b->verb && a->stage.layer == b->stage.layer && a->stage.name == b->stage.name &&
           a->row == b->row && a->element == b->element && same_value;
}

// Runs `verbs` on the reference and on every backend; it returns the tensors it wrote.
inline void compare_on_all(const std::function<std::vector<Tensor>(Ops&)>& verbs, Comparison& comparison) {
    ReferenceOps reference;
    const std::vector<Tensor> expected = verbs(reference);
    for (Backend& backend : all_backends()) {
        backend.ops->begin_pass();
        const std::vector<Tensor> actual = verbs(*backend.ops);
        const int64_t differed = comparison.differ();
        for (size_t i = 0; i < expected.size(); ++i) compare(expected[i], actual[i], comparison);
        EXPECT_EQ(comparison.differ(), differed) << backend.name();
        EXPECT_TRUE(same_failure(reference.failure(), backend.ops->failure())) << backend.name();
    }
}

inline std::unique_ptr<SequenceState> make_cache(const std::vector<KvGeometry>& layers, CacheType type, int64_t pages) {
    auto cache = SequenceState::create(layers, type, pages);
    CHECK(cache.has_value(), "the tests' caches fit in memory");
    return std::move(*cache);
}

inline Batch rows_of(int32_t sequence, int64_t first_position, int64_t count) {
    Batch batch;
    for (int64_t i = 0; i < count; ++i)
        batch.rows.push_back({.token = 0, .sequence = sequence, .position = first_position + i});
    return batch;
}

}  // namespace invar
