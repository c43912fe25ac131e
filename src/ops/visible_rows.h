// The positions that the rows of a batch see in a layer of the cache. The rule is the law's (arithmetic/attention.h);
// what a batch adds is where a sequence ends: attention that sees both ways sees up to the last row that the sequence
// has in the batch. Every body of attention, its cost and its observers ask here.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "arithmetic/attention.h"
#include "ops/batch.h"
#include "state/geometry.h"

namespace invar {

// For each row: the number of positions of its sequence up to the last one in the batch.
std::vector<int64_t> sequence_ends(const Batch& batch);
// Whether the batch has all positions from 0 on of each sequence in it.
bool has_whole_sequences(const Batch& batch);

// Answers for every row. The batch must live as long.
class VisibleRows {
  public:
    VisibleRows(const KvGeometry& layer, const Batch& batch) : rows_(batch.rows), layer_(layer) {
        if (layer.reach == Reach::both_ways) ends_ = sequence_ends(batch);
    }
    VisiblePositions of(int64_t row) const {
        const auto at = static_cast<size_t>(row);
        return law::visible_positions(layer_.reach, layer_.window, rows_[at].position, ends_.empty() ? 0 : ends_[at]);
    }

  private:
    std::span<const BatchRow> rows_;
    KvGeometry layer_;
    std::vector<int64_t> ends_;  // of layers that see both ways
};

}  // namespace invar
