#include "proof/diff/diff_rows.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "base/check.h"
#include "base/result.h"

namespace invar {

void decode_row(const StoredWeight& weight, int64_t row, RowReader& reader, std::vector<float>& out) {
    out.resize(static_cast<size_t>(weight.columns()));
    const auto decoded = reader.decode(weight, row, out.data());
    CHECK(decoded.has_value(), "mapped rows cannot fail to be read");
}

RowSketches::RowSketches(const StoredWeight& tensor, std::vector<int64_t> rows) : rows_(std::move(rows)) {
    columns_ = std::min(tensor.columns(), kSketchColumns);
    values_.resize(rows_.size() * static_cast<size_t>(columns_));
    RowReader reader(RowReader::Access::mapped);
    std::vector<float> row(static_cast<size_t>(tensor.columns()));
    for (size_t i = 0; i < rows_.size(); ++i) {
        float* out = values_.data() + i * static_cast<size_t>(columns_);
        decode_row(tensor, rows_[i], reader, row);
        std::copy_n(row.begin(), columns_, out);
        double squares = 0;
        for (int64_t c = 0; c < columns_; ++c) squares += double{out[c]} * out[c];
        const auto inverse = static_cast<float>(squares > 0 && std::isfinite(squares) ? 1 / std::sqrt(squares) : 0);
        for (int64_t c = 0; c < columns_; ++c) out[c] = std::isfinite(out[c]) ? out[c] * inverse : 0;
    }
}

double RowSketches::cosine(int64_t i, const RowSketches& other, int64_t j) const {
    const int64_t columns = std::min(columns_, other.columns_);
    const float* x = values_.data() + i * columns_;
    const float* y = other.values_.data() + j * other.columns_;
    float sums[8] = {};
    int64_t c = 0;
    for (; c + 8 <= columns; c += 8) {
        for (int64_t lane = 0; lane < 8; ++lane) sums[lane] += x[c + lane] * y[c + lane];
    }
    for (; c < columns; ++c) sums[0] += x[c] * y[c];
    double sum = 0;
    for (const float part : sums) sum += part;
    return sum;
}

std::vector<RowMatch> match_rows(const RowSketches& a, const RowSketches& b, double least) {
    std::vector<RowMatch> matches;
    for (int64_t i = 0; i < a.count(); ++i) {
        RowMatch best{.row_a = a.row(i)};
        for (int64_t j = 0; j < b.count(); ++j) {
            const double cosine = a.cosine(i, b, j);
            if (cosine > best.cosine) best.row_b = b.row(j), best.cosine = cosine;
        }
        if (best.cosine >= least) matches.push_back(best);
    }
    return matches;
}

std::string describe_permutation(const std::vector<RowMatch>& matches, int64_t head_width) {
    const auto share = [&](auto&& fits) {
        return static_cast<double>(std::count_if(matches.begin(), matches.end(), fits)) /
               static_cast<double>(std::max<size_t>(1, matches.size()));
    };
    constexpr double kMost = 0.95;
    if (head_width > 0 && head_width % 2 == 0) {
        const int64_t half = head_width / 2;
        const auto neighbour_of_half = [&](int64_t row) {
            const int64_t r = row % head_width;
            return row - r + (r < half ? 2 * r : 2 * (r - half) + 1);
        };
        if (share([&](const RowMatch& m) { return m.row_b == neighbour_of_half(m.row_a); }) >= kMost)
            return "the two rows of a rope pair are halves of a head in A and neighbours in B";
        if (share([&](const RowMatch& m) { return m.row_a == neighbour_of_half(m.row_b); }) >= kMost)
            return "the two rows of a rope pair are neighbours in A and halves of a head in B";
        if (share([&](const RowMatch& m) { return m.row_a % head_width == m.row_b % head_width; }) >= kMost)
            return fmt::format("heads of {} rows are permuted", head_width);
    }
    return "rows are permuted";
}

double mean_cosine(const StoredWeight& a, const StoredWeight& b) {
    std::vector<int64_t> rows;
    constexpr int64_t kMostRows = 64;
    const int64_t all = std::min(a.rows(), b.rows()), step = std::max<int64_t>(1, all / kMostRows);
    for (int64_t row = 0; row < all; row += step) rows.push_back(row);
    const RowSketches x(a, rows), y(b, rows);
    double sum = 0;
    for (int64_t i = 0; i < x.count(); ++i) sum += x.cosine(i, y, i);
    return sum / static_cast<double>(std::max<int64_t>(1, x.count()));
}

}  // namespace invar
