// The kernel for many tokens on AMX int8; the code is in linear_tiles_amx_body.h.
#include "machine/tile_unit_amx.h"
//
#include "cpu/linear_tiles_amx_body.h"

namespace invar {

void linear_tiles_amx(const LinearTask& task) { kTiles.entries[static_cast<int>(task.weight->format->id)](task); }

}  // namespace invar
