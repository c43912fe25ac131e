// Shared by the tests of single verbs: one verb on the plain reference and on the emulated device, compared by bits,
// with the first number that is not finite.
#pragma once

#include <gtest/gtest.h>

#include "device_ops.h"

namespace invar {

// A verb on both machines: `run` computes a tensor with the Ops and the tensors made by `make`.
using MakeTensor = std::function<Tensor(int64_t rows, int64_t width, const std::vector<float>& values)>;
using VerbRun = std::function<Tensor(Ops& ops, const MakeTensor& make)>;

inline std::vector<float> host_values(Tensor tensor) {
    std::vector<float> values;
    for (int64_t row = 0; row < tensor.rows(); ++row)
        values.insert(values.end(), tensor.host_row(row), tensor.host_row(row) + tensor.width());
    return values;
}

inline void compare_verb(const DeviceBackend& backend, const VerbRun& run, Comparison& comparison,
                         const std::string& what) {
    ReferenceOps reference;
    reference.begin_pass();
    const auto make_host = [&](int64_t rows, int64_t width, const std::vector<float>& values) {
        return make_tensor(reference, rows, width, values);
    };
    const std::vector<float> expected = host_values(run(reference, make_host));
    backend.ops->begin_pass();
    const auto make_device = [&](int64_t rows, int64_t width, const std::vector<float>& values) {
        return backend.tensor(rows, width, values);
    };
    const std::vector<float> actual = backend.read(run(*backend.ops, make_device));
    ASSERT_EQ(expected.size(), actual.size());
    const int64_t differed = comparison.differ();
    comparison.add(expected.data(), actual.data(), static_cast<int64_t>(expected.size()));
    EXPECT_EQ(comparison.differ(), differed) << what;
    EXPECT_TRUE(same_failure(reference.failure(), backend.ops->failure())) << what;
}

inline WeightVector vector_of(const std::vector<float>& values) {
    return {.id = {}, .data = values.data(), .size = static_cast<int64_t>(values.size())};
}

}  // namespace invar
