// Decides which node's threads load and multiply which rows of a matrix. On a machine with several memories each node
// gets a share of the rows in proportion to its threads. Its threads write these rows first when the model is loaded,
// so that the rows lie in their memory, and read them in every pass. Loading and products both ask here and so agree.
// Results do not depend on it: a row's result is the same whoever computes it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace invar {

inline constexpr int64_t kHomeRowGroup = 4;  // a share is whole groups, as packed rows are (layout/rows4.h)

class RowHomes {
  public:
    RowHomes() = default;  // one home
    // Home h has the workers first_worker[h] to first_worker[h + 1] - 1; first_worker.back() is their number in all.
    explicit RowHomes(std::vector<int> first_worker) : first_worker_(std::move(first_worker)) {}

    int homes() const { return static_cast<int>(first_worker_.size()) - 1; }
    int home_of_worker(int worker) const {
        return static_cast<int>(std::upper_bound(first_worker_.begin() + 1, first_worker_.end() - 1, worker) -
                                first_worker_.begin()) -
               1;
    }
    // The row at which the home's share of a matrix begins; for homes(), the end. Shares are whole groups of four rows.
    int64_t first_row(int home, int64_t rows) const {
        if (home == homes()) return rows;
        const int64_t groups = (rows + kHomeRowGroup - 1) / kHomeRowGroup;
        const auto share = static_cast<size_t>(home);
        return groups * first_worker_[share] / std::max(1, first_worker_.back()) * kHomeRowGroup;
    }

  private:
    std::vector<int> first_worker_ = {0, 1};
};

// Splits the rows of a matrix into items of at most `rows_each` (a multiple of four), each within one home.
class RowItems {
  public:
    struct Item {
        int home;
        int64_t first_row, last_row;
    };

    RowItems() = default;
    RowItems(RowHomes&&, int64_t, int64_t) = delete;  // borrowed
    RowItems(const RowHomes& homes, int64_t rows, int64_t rows_each)
        : homes_(&homes), rows_(rows), rows_each_(rows_each) {
        for (int home = 0; home < homes.homes(); ++home) count_ += items_of(home);
    }

    int64_t count() const { return count_; }
    Item at(int64_t item) const {
        int home = 0;
        for (int64_t here = items_of(0); item >= here; here = items_of(++home)) item -= here;
        const int64_t first = homes_->first_row(home, rows_) + item * rows_each_;
        return {home, first, std::min(homes_->first_row(home + 1, rows_), first + rows_each_)};
    }

  private:
    int64_t items_of(int home) const {
        const int64_t rows = homes_->first_row(home + 1, rows_) - homes_->first_row(home, rows_);
        return (rows + rows_each_ - 1) / rows_each_;
    }

    const RowHomes* homes_ = nullptr;
    int64_t rows_ = 0, rows_each_ = 1, count_ = 0;
};

}  // namespace invar
