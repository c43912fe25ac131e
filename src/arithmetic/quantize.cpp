// Defines activation quantisation, one block at a time. quantize.h says what it means; fast copies are in cpu/ and
// cuda/.
#include "arithmetic/quantize.h"

#include <bit>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace invar {
namespace {

void quantize_block(const float* x, QuantizedBlock& out) {
    // The bits of |x| order like the values, with infinity and NaN above every finite one.
    uint32_t largest = 0;
    for (int i = 0; i < kDotBlock; ++i) {
        const uint32_t magnitude = std::bit_cast<uint32_t>(x[i]) & 0x7FFFFFFFu;
        if (magnitude > largest) largest = magnitude;
    }
    const float amax = std::bit_cast<float>(largest);
    if (largest >= 0x7F800000u || amax < kZeroBlockBelow) {
        out = QuantizedBlock{};
        if (largest >= 0x7F800000u) out.d = out.sx = std::numeric_limits<float>::quiet_NaN();
        return;
    }
    const float inverse = 127.0f / amax;
    int32_t sum = 0;
    for (int i = 0; i < kDotBlock; ++i) {
        // |x * inverse| is at most 127 * (1 + 2^-23), which rounds to 127.
        out.q[i] = static_cast<int8_t>(std::rint(x[i] * inverse));
        sum += out.q[i];
    }
    out.d = amax / 127.0f;
    out.sum = sum;
    out.sx = out.d * static_cast<float>(sum);
}

}  // namespace

void quantize_row(const float* x, int64_t count, QuantizedBlock* out) {
    CHECK(count >= 0 && count % kDotBlock == 0, "activation rows are quantised in blocks of 32");
    for (int64_t block = 0; block < count / kDotBlock; ++block) quantize_block(x + block * kDotBlock, out[block]);
}

}  // namespace invar
