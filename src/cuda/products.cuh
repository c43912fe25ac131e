// The table of products on the device. It has one row per kernel, with the formats for which the kernel has instances
// and the problems for which it is chosen. The first row that fits wins, so the place in the table is the preference;
// the choice never shows in the bits. A format that no row has is refused by the plan, not here. To add a row:
// docs/adding_a_kernel.md. Only device sources (*.cu) include it.
#pragma once

#include <span>
#include <string_view>

#include "cuda/activations.cuh"
#include "cuda/linear_decode.cuh"
#include "cuda/linear_tiles.cuh"

namespace invar::cuda {

struct ProductProblem {
    FormatId format = FormatId::f32;
    int64_t rows = 0, columns = 0;
    int64_t tokens = 0;    // with experts: slots
    bool experts = false;  // each slot has its own weights
};

struct ProductKernel {
    std::string_view name;
    bool (*has)(FormatId) = nullptr;                // the formats it has instances for
    bool (*fits)(const ProductProblem&) = nullptr;  // the problems it is chosen for; it is right for every problem
    // Exactly one of the two is set. `unordered` reads activations row by row; `tiled` reads tiles of `tile_tokens`
    // tokens (TileActivations): `tiles` of them, or at most as many as group_slots can have made.
    void (*unordered)(simt::Stream, FormatId, const DecodeArgs&) = nullptr;
    void (*tiled)(simt::Stream, FormatId, const TileArgs&, int64_t tiles) = nullptr;
    int tile_tokens = 0;
    const void* (*any_kernel)() = nullptr;  // one of its source: all of a source are loaded together (kernel_loading.h)
};

std::span<const ProductKernel> product_kernels();
// The first row that has the format and fits. There is one for every format that has_products() knows.
const ProductKernel& choose_product(const ProductProblem& problem);

// For the `has` of a table row: the formats of codes, and those of float elements.
bool has_codes(FormatId format);
bool has_elements(FormatId format);

// Prepares activations: quantised for formats of codes, reordered for float formats.
void launch_quantize(simt::Stream stream, const QuantizeArgs& args);
void launch_reorder(simt::Stream stream, const ReorderArgs& args, int64_t tokens);

// ---- the rows of the table (product_kernels.cu)

// Takes any number of tokens; up to 8 share one reading of the weights. With experts each slot reads its own weights.
void launch_decode(simt::Stream stream, FormatId format, const DecodeArgs& args);
void launch_float_decode(simt::Stream stream, FormatId format, const DecodeArgs& args);

// Tiles of 16, 64 and 128 tokens; for float formats 16 and 64.
template <int kTokens>
void launch_tiles(simt::Stream stream, FormatId format, const TileArgs& args, int64_t tiles);
template <int kTokens>
void launch_float_tiles(simt::Stream stream, FormatId format, const TileArgs& args, int64_t tiles);

}  // namespace invar::cuda
