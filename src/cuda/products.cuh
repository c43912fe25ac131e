// The host's side of products: which kernel a format and a number of tokens get, and its grid. The choice never shows
// in the bits. Included by device sources (*.cu) only.
#pragma once

#include "cuda/activations.cuh"
#include "cuda/linear_decode.cuh"
#include "cuda/linear_tiles.cuh"

namespace invar::cuda {

void launch_quantise(simt::Stream stream, const QuantiseArgs& args);
void launch_reorder(simt::Stream stream, const ReorderArgs& args, int64_t tokens);

// Any number of tokens; up to 8 share one reading of the weights. With experts each slot reads its own.
void launch_decode(simt::Stream stream, FormatId format, const DecodeArgs& args);

// In tiles of 16, 64 or (quantised formats) 128 tokens. `tiles`: of tokens, or as many as group_slots may have made.
void launch_tiles(simt::Stream stream, FormatId format, const TileArgs& args, int tile_tokens, int64_t tiles);

// The same for float formats; called by launch_tiles.
void launch_float_tiles(simt::Stream stream, FormatId format, const TileArgs& args, int tile_tokens, int64_t tiles);

}  // namespace invar::cuda
