// The AMX kernel with its tile instructions emulated; needs AVX-512 all the same.
#include "cpu/linear_tile_unit_emulated.h"
//
#include "cpu/linear_tiles_amx_body.h"
#include "cpu/linear_tiles_emulated.h"

namespace invar {

void linear_tiles_emulated(const LinearTask& task) { kTiles.entries[static_cast<int>(task.weight->format->id)](task); }
EmulatedCounts emulated_counts() { return {emulated.products, emulated.faults, emulated.configured}; }

}  // namespace invar
