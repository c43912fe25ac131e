#include "ops/visible_rows.h"

#include <algorithm>
#include <map>

namespace invar {

std::vector<int64_t> sequence_ends(const Batch& batch) {
    std::vector<int64_t> of_sequence, ends;
    for (const BatchRow& row : batch.rows) {
        const auto sequence = static_cast<size_t>(row.sequence);
        if (of_sequence.size() <= sequence) of_sequence.resize(sequence + 1);
        of_sequence[sequence] = std::max(of_sequence[sequence], row.position + 1);
    }
    for (const BatchRow& row : batch.rows) ends.push_back(of_sequence[static_cast<size_t>(row.sequence)]);
    return ends;
}

bool has_whole_sequences(const Batch& batch) {
    std::map<int32_t, int64_t> rows;
    for (const BatchRow& row : batch.rows)
        if (row.position != rows[row.sequence]++) return false;  // positions rise
    return true;
}

}  // namespace invar
