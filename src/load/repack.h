// Fills one block of memory with the weights that a plan keeps in a form of their own: every matrix packed and every
// vector widened, read from the file in pieces that all threads work on. It decides where in the block a weight lies;
// weight_plan.h decides the forms. The block's layout is a function of the plan alone.
#pragma once

#include <span>

#include "load/loader.h"

namespace invar {

// The places of the entries in the block, by their index in the plan.
struct PackedPlaces {
    std::vector<int64_t> offsets;  // multiples of 64 bytes; -1: the entry has no bytes in the block
    int64_t bytes = 0;             // of the block
};
PackedPlaces packed_places(const WeightPlan& plan);
// What a weight of `bytes` takes in the block: it is padded with zeros to a multiple of 64.
int64_t padded_bytes(int64_t bytes);

// `block` has places.bytes bytes. Errors: the file cannot be read.
Result<void> fill_packed(const WeightPlan& plan, const PackedPlaces& places, ThreadPool& pool,
                         const LoadProgress& progress, std::byte* block);

}  // namespace invar
