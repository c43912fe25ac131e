// Instances of the float tile kernels: three formats for 16 and 64 tokens.
#include "cuda/linear_float_tiles.cuh"

#include "base/check.h"
#include "cuda/kernel_loading.h"
#include "cuda/products.cuh"

namespace invar::cuda {

void launch_float_tiles(simt::Stream stream, FormatId format, const TileArgs& args, int tile_tokens, int64_t tiles) {
    const int rows = float_tile_rows(tile_tokens);
    const simt::Grid grid{.x = static_cast<int>((args.rows + rows - 1) / rows),
                          .y = static_cast<int>(tiles),
                          .threads = kTileThreads,
                          .name = "float_tiles"};
    const auto launch = [&]<FormatId kId>() {
        if (tile_tokens == 16) return simt::launch(stream, grid, float_tile_kernel<kId, 16>, args);
        simt::launch(stream, grid, float_tile_kernel<kId, 64>, args);
    };
    if (format == FormatId::f32) return launch.template operator()<FormatId::f32>();
    if (format == FormatId::f16) return launch.template operator()<FormatId::f16>();
    CHECK(format == FormatId::bf16, "every format is quantised or one of three float formats");
    launch.template operator()<FormatId::bf16>();
}

const void* kernel_of_float_tiles() { return reinterpret_cast<const void*>(&float_tile_kernel<FormatId::f32, 16>); }

}  // namespace invar::cuda
