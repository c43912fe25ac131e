// The check of the trial "row" (row.py), built in its copy alone beside tests/cuda/linear_decode_test.cpp, which walks
// the table and so compares the new row with the definition: here the row is the choice where it says so, and its own
// products are compared and counted.
#include <gtest/gtest.h>

#include "cuda/device_case.h"
#include "cuda/products.cuh"

namespace invar {
namespace {

const cuda::ProductKernel& chosen(FormatId id, int64_t tokens) {
    return cuda::choose_product({.format = id, .rows = 64, .columns = 256, .tokens = tokens});
}

TEST(TrialRow, IsTheChoiceWhereItFits) {
    EXPECT_EQ(chosen(FormatId::f32, 1).name, "toy");
    EXPECT_EQ(chosen(FormatId::f32, 2).name, "float_decode");
    EXPECT_EQ(chosen(FormatId::bf16, 1).name, "float_decode");
}

TEST(TrialRow, MultipliesLikeTheDefinition) {
    Comparison all;
    const cuda::ProductKernel& toy = chosen(FormatId::f32, 1);
    for (const int64_t columns : {1, 256, 333, 1024, 2311}) {
        for (uint64_t seed = 0; seed < 8; ++seed) {
            const EmulatedDevice device;
            const DeviceProduct p = make_product(format(FormatId::f32), 130, columns, 1, WeightKind::ordinary, seed);
            const int64_t records = cuda::records_of(columns);
            const DeviceArray<float> x(records * cuda::kRecordColumns), out(p.rows);
            cuda::launch_reorder(
                device.stream(),
                {.x = p.x.constant(), .stride = columns, .columns = columns, .records = records, .out = x.global()}, 1);
            toy.unordered(device.stream(), FormatId::f32,
                          {.weights = p.packed.constant(),
                           .rows = p.rows,
                           .columns = columns,
                           .scales = p.scales(),
                           .activations = simt::global(reinterpret_cast<const uint8_t*>(x.data()), x.count() * 4),
                           .tokens = 1,
                           .out = out.global(),
                           .out_stride = p.rows,
                           .inspector = device.inspector()});
            device.expect_no_fault();
            all.add(p.expected.data(), out.data(), p.rows);
        }
    }
    EXPECT_EQ(all.differ(), 0);
    all.print("the toy row, f32, one token");
}

}  // namespace
}  // namespace invar
