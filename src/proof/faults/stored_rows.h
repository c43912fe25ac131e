// Reads and replaces single rows of weights as the file has them, and multiplies them by the dot product of the
// definition. The rest of the program works on whole matrices. This is scalar and slow, for faults and local checks.
// Rows of the KV cache: cache_rows.h.
#pragma once

#include <cstddef>
#include <vector>

#include "arithmetic/dot.h"
#include "ops/verb_call.h"

namespace invar {

// The bytes of a row as the file stores it, whatever form the matrix is loaded in.
std::vector<std::byte> stored_row(const WeightMatrix& weight, int64_t row);
// Replaces the row in `copy`, which is a writable copy of the bytes of `weight` (one matrix).
void replace_stored_row(const WeightMatrix& weight, int64_t row, const std::vector<std::byte>& stored, std::byte* copy);

// Which matrix of its stack a row of results comes from, and from which row of x. Without a stack the matrix is 0.
struct ProductPlace {
    int64_t matrix = 0, row_of_x = 0;
};
ProductPlace product_place(const VerbCall& call, int64_t row_of_out);

// A row of activations, quantised as products with this format read it.
class LawInput {
  public:
    LawInput(const Format& format, const float* x, int64_t columns);
    // The dot product with row `row`, whose bytes are `stored`, including the scales beside the format.
    float dot(const WeightMatrix& weight, int64_t row, const std::byte* stored) const;

    const float* x() const { return x_; }
    const std::vector<QuantizedBlock>& blocks() const { return blocks_; }  // empty for float formats

  private:
    const float* x_;
    std::vector<QuantizedBlock> blocks_;
};

}  // namespace invar
