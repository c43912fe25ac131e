// Equal experts, rows and blocks within a tensor, and how likely it is that they are equal by chance.
#pragma once

#include <cstdint>
#include <vector>

#include "proof/audit/audit_scan.h"

namespace invar {

struct EqualPair {
    int64_t count = 0;                // copies of something that was there before
    int64_t first = -1, second = -1;  // the first copy is `second`; indices of experts, rows or blocks
};

struct Duplicates {
    EqualPair experts;
    EqualPair rows;    // of experts that are not copies
    EqualPair blocks;  // of rows that are not copies
    // log2 of the expected number of equal pairs of such a block, had its bytes been drawn one by one from those that
    // the tensor has at the same place of a block. Far below 0: copied.
    double log2_chance = 0;
};

// The hash of each expert's rows (of the one matrix where there are no experts); 0: nothing but constant blocks.
std::vector<uint64_t> hashes_of_experts(const TensorScan& scan);

Duplicates find_duplicates(const TensorInfo& tensor, const TensorScan& scan);

}  // namespace invar
