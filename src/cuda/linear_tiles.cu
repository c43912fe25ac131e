// Instances of the tile kernels: every quantised format for 16, 64 and 128 tokens.
#include "base/check.h"
#include "cuda/kernel_loading.h"
#include "cuda/products.cuh"

namespace invar::cuda {

void launch_tiles(simt::Stream stream, FormatId format, const TileArgs& args, int tile_tokens, int64_t tiles) {
    if (tiles == 0) return;
    const simt::Grid grid{.x = static_cast<int>((args.rows + kTileRows - 1) / kTileRows),
                          .y = static_cast<int>(tiles),
                          .threads = kTileThreads,
                          .name = "tiles"};
    const bool quantised = with_quantised_format(format, [&]<FormatId kId>() {
        if (tile_tokens == 16) return simt::launch(stream, grid, tile_kernel<kId, 16>, args);
        if (tile_tokens == 64) return simt::launch(stream, grid, tile_kernel<kId, 64>, args);
        simt::launch(stream, grid, tile_kernel<kId, 128>, args);
    });
    CHECK(tile_tokens == 16 || tile_tokens == 64 || (quantised && tile_tokens == 128),
          "tiles have 16, 64 or, of quantised weights, 128 tokens");
    if (!quantised) launch_float_tiles(stream, format, args, tile_tokens, tiles);
}

const void* kernel_of_tiles() { return reinterpret_cast<const void*>(&tile_kernel<FormatId::q8_0, 16>); }

}  // namespace invar::cuda
