// Finds rows of one tensor among the rows of another by their direction. It tells which row of B is which of A, what
// the pattern means, and whether a whole tensor is that of another layer.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "files/stored_weight.h"

namespace invar {

// Decodes one row to numbers, [columns], with a reader of mapped files.
void decode_row(const StoredWeight& weight, int64_t row, RowReader& reader, std::vector<float>& out);

// How many columns of a row are compared, a multiple of every block. Unrelated rows have cosines around 1 / 16.
inline constexpr int64_t kSketchColumns = 256;

// The first columns of rows, each row divided by its length.
class RowSketches {
  public:
    RowSketches(const StoredWeight& tensor, std::vector<int64_t> rows);
    int64_t count() const { return static_cast<int64_t>(rows_.size()); }
    int64_t row(int64_t i) const { return rows_[static_cast<size_t>(i)]; }
    double cosine(int64_t i, const RowSketches& other, int64_t j) const;

  private:
    std::vector<int64_t> rows_;
    int64_t columns_ = 0;
    std::vector<float> values_;  // [rows, columns]
};

struct RowMatch {
    int64_t row_a = 0, row_b = 0;
    double cosine = 0;
};
// Gives for each row of A the best match among the rows of B, if their cosine is at least `least`.
std::vector<RowMatch> match_rows(const RowSketches& a, const RowSketches& b, double least);

// Describes a permutation of rows in words: "rope pairs are neighbours in A and halves in B", "heads of 64 rows are
// permuted", "rows are permuted". head_width 0: the rows belong to no head.
std::string describe_permutation(const std::vector<RowMatch>& matches, int64_t head_width);

// The mean cosine of corresponding rows of two tensors of one shape, over a sample of rows.
double mean_cosine(const StoredWeight& a, const StoredWeight& b);

}  // namespace invar
