// The check of the trial "row" (row.py), built in its copy alone beside tests/cuda/linear_decode_test.cpp, which walks
// the table and so compares the new row with the definition: here only that the row is the choice where it says so.
#include <gtest/gtest.h>

#include "cuda/products.cuh"

namespace invar {
namespace {

TEST(TrialRow, IsTheChoiceWhereItFits) {
    const auto named = [](FormatId id, int64_t tokens) {
        return cuda::choose_product({.format = id, .rows = 64, .columns = 256, .tokens = tokens}).name;
    };
    EXPECT_EQ(named(FormatId::f32, 1), "toy");
    EXPECT_EQ(named(FormatId::f32, 2), "float_decode");
    EXPECT_EQ(named(FormatId::bf16, 1), "float_decode");
}

}  // namespace
}  // namespace invar
