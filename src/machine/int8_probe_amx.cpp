// The AMX loop of int8_probe.h. One step is a tile product of 16 rows x 16 tokens x 64 columns. Four tiles of sums are
// kept because a product takes 16 cycles and its sums are ready after 52. The numbers are from the manuals; the code
// has not run on a chip with AMX.
#include <cstdint>

#include "machine/int8_probe.h"
#include "machine/tile_unit_amx.h"

namespace invar {

void int8_steps_amx(int64_t steps) {
    static_assert(kInt8TilesAmx == 4);
    TileUnit::configure(16, 64, 16);  // all six tiles have 16 rows of 64 bytes
    alignas(64) int8_t codes[16 * 64];
    for (int8_t& code : codes) code = 11;
    TileUnit::zero<0>();
    TileUnit::zero<1>();
    TileUnit::zero<2>();
    TileUnit::zero<3>();
    TileUnit::load<4>(codes, 64);
    TileUnit::load<5>(codes, 64);
    for (int64_t step = 0; step < steps; ++step) {
        TileUnit::multiply_signed<0, 4, 5>();
        TileUnit::multiply_signed<1, 4, 5>();
        TileUnit::multiply_signed<2, 4, 5>();
        TileUnit::multiply_signed<3, 4, 5>();
    }
    TileUnit::release();
}

}  // namespace invar
