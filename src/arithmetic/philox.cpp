// Philox4x32-10; the published test vectors are in tests/arithmetic/philox_test.cpp.
#include "arithmetic/philox.h"

namespace invar::law {
namespace {

constexpr uint32_t kMultiplier0 = 0xD2511F53u, kMultiplier1 = 0xCD9E8D57u;
constexpr uint32_t kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;  // golden ratio; sqrt(3) - 1
constexpr int kRounds = 10;

uint32_t low_word(uint64_t value) { return static_cast<uint32_t>(value); }
uint32_t high_word(uint64_t value) { return static_cast<uint32_t>(value >> 32); }

}  // namespace

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
    for (int round = 0; round < kRounds; ++round) {
        const uint64_t product0 = uint64_t{kMultiplier0} * counter[0];
        const uint64_t product1 = uint64_t{kMultiplier1} * counter[2];
        counter = {high_word(product1) ^ counter[1] ^ key[0], low_word(product1),
                   high_word(product0) ^ counter[3] ^ key[1], low_word(product0)};
        key = {key[0] + kWeyl0, key[1] + kWeyl1};
    }
    return counter;
}

float uniform(uint64_t seed, uint64_t position, uint32_t draw) {
    const auto words =
        philox4x32({low_word(position), high_word(position), draw, 0}, {low_word(seed), high_word(seed)});
    return static_cast<float>(words[0] >> 8) * 0x1p-24f;
}

}  // namespace invar::law
