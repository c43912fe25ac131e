// Instances of the decode kernels: every format for 1, 2, 4 and 8 tokens.
#include "base/check.h"
#include "cuda/kernel_loading.h"
#include "cuda/products.cuh"

namespace invar::cuda {
namespace {

int blocks_for(int64_t items, int64_t of_block) { return static_cast<int>((items + of_block - 1) / of_block); }

template <int kTokens, class Kernel>
void launch_for(simt::Stream stream, Kernel kernel, const char* name, const DecodeArgs& args) {
    simt::launch(stream,
                 {.x = blocks_for(groups_of(args.rows), kDecodeWarps),
                  .y = blocks_for(args.tokens, kTokens),
                  .threads = 32 * kDecodeWarps,
                  .name = name},
                 kernel, args);
}

// Tokens per warp: the smallest of 1, 2, 4, 8 that takes all tokens, or 8.
template <class Launch>
void with_tokens(const DecodeArgs& args, Launch launch) {
    const bool alone = args.tokens == 1 || !simt::is_null(args.experts);
    if (alone) return launch.template operator()<1>();
    if (args.tokens == 2) return launch.template operator()<2>();
    if (args.tokens <= 4) return launch.template operator()<4>();
    launch.template operator()<8>();
}

}  // namespace

void launch_quantize(simt::Stream stream, const QuantizeArgs& args) {
    const int64_t rows = simt::is_null(args.records_out) ? args.tiles.tokens : args.tokens;
    simt::launch(stream,
                 {.x = static_cast<int>(args.records), .y = static_cast<int>(rows), .threads = 64, .name = "quantise"},
                 quantize_kernel, args);
}

void launch_reorder(simt::Stream stream, const ReorderArgs& args, int64_t tokens) {
    simt::launch(
        stream, {.x = static_cast<int>(args.records), .y = static_cast<int>(tokens), .threads = 256, .name = "reorder"},
        reorder_kernel, args);
}

void launch_decode(simt::Stream stream, FormatId format, const DecodeArgs& args) {
    if (args.tokens == 0) return;
    const bool launched = with_quantized_format(format, [&]<FormatId kId>() {
        with_tokens(args,
                    [&]<int kTokens>() { launch_for<kTokens>(stream, decode_kernel<kId, kTokens>, "decode", args); });
    });
    CHECK(launched, "a row is asked for formats that it has");
}

void launch_float_decode(simt::Stream stream, FormatId format, const DecodeArgs& args) {
    if (args.tokens == 0) return;
    const bool launched = with_float_format(format, [&]<FormatId kId>() {
        with_tokens(args, [&]<int kTokens>() {
            launch_for<kTokens>(stream, decode_float_kernel<kId, kTokens>, "decode_float", args);
        });
    });
    CHECK(launched, "a row is asked for formats that it has");
}

const void* kernel_of_decode() { return reinterpret_cast<const void*>(quantize_kernel); }

}  // namespace invar::cuda
