// Instances of the float tile kernels: every float format for 16 and 64 tokens.
#include "cuda/linear_float_tiles.cuh"

#include "base/check.h"
#include "cuda/kernel_loading.h"
#include "cuda/products.cuh"

namespace invar::cuda {

template <int kTokens>
void launch_float_tiles(simt::Stream stream, FormatId format, const TileArgs& args, int64_t tiles) {
    if (tiles == 0) return;
    const int rows = float_tile_rows(kTokens);
    const simt::Grid grid{.x = static_cast<int>((args.rows + rows - 1) / rows),
                          .y = static_cast<int>(tiles),
                          .threads = kTileThreads,
                          .name = "float_tiles"};
    const bool launched = with_float_format(
        format, [&]<FormatId kId>() { simt::launch(stream, grid, float_tile_kernel<kId, kTokens>, args); });
    CHECK(launched, "a row is asked for formats that it has");
}
template void launch_float_tiles<16>(simt::Stream, FormatId, const TileArgs&, int64_t);
template void launch_float_tiles<64>(simt::Stream, FormatId, const TileArgs&, int64_t);

const void* kernel_of_float_tiles() { return reinterpret_cast<const void*>(&float_tile_kernel<FormatId::f32, 16>); }

}  // namespace invar::cuda
