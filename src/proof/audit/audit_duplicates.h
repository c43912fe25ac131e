// Finds equal experts, rows and blocks within a tensor, and computes how likely it is that they are equal by chance.
#pragma once

#include <cstdint>
#include <vector>

#include "proof/audit/audit_scan.h"

namespace invar {

struct EqualPair {
    int64_t count = 0;                // how many items copy an earlier one
    int64_t first = -1, second = -1;  // indices of experts, rows or blocks; `second` is the first copy found
};

struct Duplicates {
    EqualPair experts;
    EqualPair rows;    // of rows in experts that are not copies themselves
    EqualPair blocks;  // of blocks in rows that are not copies themselves
    // log2 of the expected number of equal pairs of this block, if each byte were drawn from those that the tensor has
    // at the same place of a block. Far below 0, the block was copied.
    double log2_chance = 0;
};

// The hash of each expert's rows, or of the one matrix if there are no experts. 0: all its blocks are constant.
std::vector<uint64_t> hashes_of_experts(const TensorScan& scan);

Duplicates find_duplicates(const TensorInfo& tensor, const TensorScan& scan);

}  // namespace invar
