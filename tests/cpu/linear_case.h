// Products to compare: hostile weights and activations, what the definition gives for them, and a comparison of bits.
// Used by the equality and the mutation tests; the mutation tests prove that the comparison sees errors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "cpu/linear.h"
#include "formats/format.h"

namespace invar {

struct FreeBytes {
    void operator()(std::byte* bytes) const { std::free(bytes); }
};
using AlignedBytes = std::unique_ptr<std::byte[], FreeBytes>;
AlignedBytes aligned_bytes(int64_t count);  // 64-byte aligned, zeroed

enum class WeightKind : uint8_t {
    ordinary,  // scales as a model has them, codes and integer scales of every value
    extreme,   // f16 scales zero, subnormal, largest, either sign; every 8-bit scale
    any_bits,  // random bytes: NaN and infinite scales too
};

// Rows of blocks as in a file. The scale of a block of float elements that ends a row is below 2.
std::vector<std::byte> random_weights(const Format& format, int64_t rows, int64_t columns, WeightKind kind,
                                      uint64_t seed);

// [tokens, columns]. Tokens differ in kind: Gaussian; outliers of 100; blocks of zeros, of -0, of 1e-32 and 1e-38 times
// the rest; saturating +-3 (all codes +-127); constant; all zero. Token 0 of an odd seed has a non-finite value when
// asked.
std::vector<float> random_activations(int64_t tokens, int64_t columns, uint64_t seed);

// A matrix in both forms, activations, and the definition's results.
struct LinearCase {
    const Format* format = nullptr;
    int64_t rows = 0, columns = 0, tokens = 0;
    float tensor_scale = 1.0f;
    std::vector<float> row_scales;  // [rows], or none
    std::vector<std::byte> stored;
    AlignedBytes packed;
    std::vector<float> x;
    std::vector<float> expected;  // [tokens, rows]: dot_quantized over quantize_row blocks, then the scales

    WeightMatrix matrix(StoredForm form) const;
};
// A row of 229 columns of f8_e4m3_b128 and activations whose every product is a negative number that rounds to -0: so y
// is -0, unless what stands behind the last column adds +0. The scale of its last block is negative.
std::vector<std::byte> row_of_negative_zeros();
std::vector<float> activations_of_negative_zeros();

// Gives the rows of each group of four the first one's scales where a packed form holds one for all.
void share_scales(const Format& format, int64_t rows, int64_t columns, std::byte* stored);
// Every third seed has scales of rows beside the tensor's.
std::vector<float> random_row_scales(int64_t rows, uint64_t seed);
LinearCase make_case(const Format& format, int64_t rows, int64_t columns, int64_t tokens, WeightKind kind,
                     uint64_t seed, float tensor_scale = 0.37f);

// Rows [first, last) of `weight` for `tokens` tokens starting at `first_token` of the case, by one kernel; other
// elements of `out` [tokens, stride] are left alone.
struct Range {
    int64_t first_token, tokens, first_row, last_row;
};
AlignedBytes prepare_case(const LinearCase& c, const LinearKernel& kernel, Isa isa);
void run_kernel(const LinearKernel& kernel, const WeightMatrix& weight, const std::byte* prepared, Range range,
                float* out, int64_t out_stride);

// Elements whose bits differ (a NaN equals a NaN) between [tokens, stride] results and the case's, from `first_token`
// on.
int64_t count_differences(const LinearCase& c, const float* out, int64_t out_stride, int64_t first_token,
                          int64_t tokens);

// Kernels of the table that multiply quantised weights stored in `form` and run on this machine.
std::vector<const LinearKernel*> runnable_kernels(StoredForm form);
std::vector<const Format*> quantized_formats();

}  // namespace invar
