// Instances of the tile kernels: every quantised format for 16, 64 and 128 tokens.
#include "base/check.h"
#include "cuda/kernel_loading.h"
#include "cuda/products.cuh"

namespace invar::cuda {

template <int kTokens>
void launch_tiles(simt::Stream stream, FormatId format, const TileArgs& args, int64_t tiles) {
    if (tiles == 0) return;
    const simt::Grid grid{.x = static_cast<int>((args.rows + kTileRows - 1) / kTileRows),
                          .y = static_cast<int>(tiles),
                          .threads = kTileThreads,
                          .name = "tiles"};
    const bool launched = with_quantized_format(
        format, [&]<FormatId kId>() { simt::launch(stream, grid, tile_kernel<kId, kTokens>, args); });
    CHECK(launched, "a row is asked for formats that it has");
}
template void launch_tiles<16>(simt::Stream, FormatId, const TileArgs&, int64_t);
template void launch_tiles<64>(simt::Stream, FormatId, const TileArgs&, int64_t);
template void launch_tiles<128>(simt::Stream, FormatId, const TileArgs&, int64_t);

const void* kernel_of_tiles() { return reinterpret_cast<const void*>(&tile_kernel<FormatId::q8_0, 16>); }

}  // namespace invar::cuda
