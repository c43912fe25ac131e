// The table of products on the device, and the choice of a row. See products.cuh.
#include <algorithm>

#include "base/check.h"
#include "cuda/kernel_loading.h"
#include "cuda/product_formats.h"
#include "cuda/products.cuh"

namespace invar::cuda {
namespace {

constexpr int64_t kMostDecodeTokens = 8;  // beyond, products are tiles
constexpr int64_t kMostDecodeSlots = 64;  // of experts: each reads its expert's weights
constexpr int64_t kSmallTileTokens = 48;  // up to here in tiles of 16 tokens
constexpr int kEnoughTiles = 132;         // multiprocessors of an H200

bool few_tokens(const ProductProblem& problem) {
    return problem.tokens <= (problem.experts ? kMostDecodeSlots : kMostDecodeTokens);
}

// Larger tiles need fewer instructions; smaller ones keep more multiprocessors busy.
bool enough_tiles(const ProductProblem& problem, int64_t rows, int64_t tokens) {
    const int64_t tiles = (problem.rows + rows - 1) / rows * ((problem.tokens + tokens - 1) / tokens);
    return !problem.experts && problem.tokens > kSmallTileTokens && tiles >= kEnoughTiles;
}

bool large_tiles(const ProductProblem& problem) { return problem.tokens > 64 && enough_tiles(problem, kTileRows, 128); }
bool middle_tiles(const ProductProblem& problem) { return !problem.experts && problem.tokens > kSmallTileTokens; }
bool large_float_tiles(const ProductProblem& problem) { return enough_tiles(problem, 128, 64); }
bool any_tokens(const ProductProblem&) { return true; }

// name, formats, the problems it is chosen for, run, tokens of a tile, a kernel of its source
constexpr ProductKernel kTable[] = {
    {"decode", has_codes, few_tokens, launch_decode, nullptr, 0, kernel_of_decode},
    {"float_decode", has_elements, few_tokens, launch_float_decode, nullptr, 0, kernel_of_decode},
    {"tiles_128", has_codes, large_tiles, nullptr, launch_tiles<128>, 128, kernel_of_tiles},
    {"tiles_64", has_codes, middle_tiles, nullptr, launch_tiles<64>, 64, kernel_of_tiles},
    {"tiles_16", has_codes, any_tokens, nullptr, launch_tiles<16>, 16, kernel_of_tiles},
    {"float_tiles_64", has_elements, large_float_tiles, nullptr, launch_float_tiles<64>, 64, kernel_of_float_tiles},
    {"float_tiles_16", has_elements, any_tokens, nullptr, launch_float_tiles<16>, 16, kernel_of_float_tiles},
};

}  // namespace

std::span<const ProductKernel> product_kernels() { return kTable; }

const ProductKernel& choose_product(const ProductProblem& problem) {
    const ProductKernel* chosen = nullptr;
    for (const ProductKernel& kernel : kTable) {
        if (chosen == nullptr && kernel.has(problem.format) && kernel.fits(problem)) chosen = &kernel;
    }
    CHECK(chosen != nullptr, "the plan brings no format to the device that has no kernels there");
    return *chosen;
}

bool has_products(FormatId format) {
    return std::any_of(std::begin(kTable), std::end(kTable),
                       [&](const ProductKernel& kernel) { return kernel.has(format); });
}

bool has_codes(FormatId format) { return has_device_form(format) && !weight_layout(format).is_float(); }
bool has_elements(FormatId format) { return has_device_form(format) && weight_layout(format).is_float(); }

}  // namespace invar::cuda
