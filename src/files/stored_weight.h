// How a checkpoint holds one weight, and its rows as blocks of a Format. This covers every container and every form: a
// tensor, a slice of one, rows or columns in another order (row_order.h), a transposed tensor, codes beside their
// scales, or one tensor per expert. Rows are handed out a few at a time, so that no expanded copy of a weight ever
// exists. checkpoint/binding.h decides which tensors make up a weight.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "files/row_order.h"
#include "files/tensor_info.h"

namespace invar {

// The change to be made to the numbers of a vector: 1 + x is rounded once, and -exp(x) is that of
// arithmetic/elementary.h, at most 1 ulp.
enum class VectorLaw : uint8_t { as_stored, plus_one, minus_exp };

// The content of a row of the tensor of weights, and how it becomes blocks of the format (block_packing.h).
enum class CodePacking : uint8_t {
    blocks,       // blocks of the format
    nvfp4_pairs,  // U8 [rows, columns / 2], the even element low; scales E4M3 [rows, columns / 16]
    mxfp4_pairs,  // U8 [rows, columns / 2], the even element low; scales E8M0 [rows, columns / 32]
    f8_grid,      // E4M3 [rows, columns]; scales of blocks of 128 x 128 [rows / 128, columns / 128], rounded up
    int4_words,   // I32 [rows, columns / 8], the first element lowest, code 8 is zero; scales [rows, columns / group]
};

// Where the scale of a whole tensor is multiplied in a weight as its writer means it. The first product of each is
// exact or is the only one that rounds before the last; what a product with the weight does is docs/arithmetic.md,
// section 1.
enum class ScaleOrder : uint8_t {
    last,                  // (code * block scale) * scale
    in_block_scales,       // code * (block scale * scale): ModelOpt's NVFP4
    divides_block_scales,  // code * (block scale / divisor): NVFP4 of compressed-tensors
};

struct StoredWeight;

// One matrix of the weight, or its vector.
struct StoredMatrix {
    const TensorInfo* weights = nullptr;
    const TensorInfo* scales = nullptr;  // scales of its blocks, with the same rows (f8_grid: the same blocks of rows)
    RowOrder order;
    int64_t first_row = 0;  // of a transposed weight, whose `order` is that of the tensor's columns
    // Of a transposed weight whose tensor has blocks along its own rows: the weight that the whole tensor is. The
    // numbers that it decodes to are the F32 numbers of this one.
    std::shared_ptr<const StoredWeight> source = nullptr;
    bool operator==(const StoredMatrix&) const = default;
};

struct StoredWeight {
    std::string name;  // of the tensor, as messages and plans spell it
    const Format* format = nullptr;
    std::vector<int64_t> shape;          // outermost first: [rows, columns], [matrices, rows, columns] or [size]
    std::vector<StoredMatrix> matrices;  // one, or one per expert
    CodePacking packing = CodePacking::blocks;
    std::vector<float> scales;            // one for each matrix: the multiplier of all its weights; empty: none
    std::vector<float> divisors;          // likewise as the file states them, for ScaleOrder::divides_block_scales
    std::vector<float> row_scales;        // one for each row of all matrices, likewise; empty: none
    std::vector<const TensorInfo*> read;  // the tensors that these numbers came from, and others that were looked at
    ScaleOrder scale_order = ScaleOrder::last;  // another one only where `format` is nvfp4
    VectorLaw law = VectorLaw::as_stored;
    GroupOrder columns_order = {};  // of each row: wanted column c is stored as column columns_order.at(c)
    // Row r, column c is stored in the tensor's row first_row + columns_order.at(c), column order.at(r).
    bool transposed = false;
    std::string recipe;  // how it is made, in words; "": it is the tensor itself

    int64_t columns() const { return shape.back(); }
    int64_t rows() const;  // over all matrices; 1 for a vector
    int64_t rows_of_matrix() const { return rows() / static_cast<int64_t>(matrices.size()); }
    int64_t weights() const { return rows() * columns(); }
    int64_t row_bytes() const { return format->row_bytes(columns()); }
    int64_t bytes() const { return rows() * row_bytes(); }  // as blocks of `format`
    float scale_of(int64_t matrix) const { return scales.empty() ? 1.0f : scales[static_cast<size_t>(matrix)]; }

    // All rows in the order they are wanted; null if they have to be made.
    const std::byte* in_place() const;
    // Where a row is stored, for messages: the part of the checkpoint, and bytes from that part's start.
    struct Place {
        int file_index = 0;
        int64_t offset = 0;
    };
    Place place_of(int64_t row) const;
};

// Reads rows of weights into a buffer that it keeps. Each thread needs its own.
class RowReader {
  public:
    enum class Access : uint8_t {
        read,    // copied from the file: a file that shrinks meanwhile is an error, and no page of it stays mapped; so
                 // is a scale of a block that is negative, infinite or not a number
        mapped,  // through the mapping, in place if the rows are stored as wanted
    };
    explicit RowReader(Access access) : access_(access) {}

    // Rows [first, first + count) of the weight, counted over all matrices; valid until the next call.
    Result<const std::byte*> rows(const StoredWeight& weight, int64_t first, int64_t count);
    // The numbers of one row, [columns]: the binary32 that the writer's own code makes of it. A zero has no sign.
    Result<void> decode(const StoredWeight& weight, int64_t row, float* out);
    // The numbers of a vector, [size].
    Result<void> vector(const StoredWeight& weight, float* out);

  private:
    Result<const std::byte*> bytes(const TensorInfo& tensor, int64_t offset, int64_t count,
                                   std::vector<std::byte>& room);
    Result<void> make_rows(const StoredWeight& weight, const StoredMatrix& matrix, int64_t first, int64_t count,
                           std::byte* out);
    Result<void> transpose(const StoredWeight& weight, const StoredMatrix& matrix, int64_t first, int64_t count,
                           std::byte* out);
    Result<void> transpose_decoded(const StoredWeight& weight, const StoredMatrix& matrix, int64_t first, int64_t count,
                                   std::byte* out);
    Result<const std::byte*> transposed_rows(const StoredWeight& weight, int64_t first, int64_t count);

    Access access_;
    std::vector<std::byte> buffer_, weights_, scales_, ordered_weights_, ordered_scales_;
    // Rows of a transposed weight, which are made many at a time: row by row, the tensor would be read again for each.
    struct Panel {
        StoredMatrix matrix;
        int64_t columns = 0;
        GroupOrder columns_order;
        int64_t first = 0, count = 0;
        std::vector<std::byte> rows;
        bool of(const StoredWeight& weight, const StoredMatrix& one) const {
            return matrix == one && columns == weight.columns() && columns_order == weight.columns_order;
        }
    } panel_;
    std::unique_ptr<RowReader> source_reader_;
};

}  // namespace invar
