// Random weights in the encodings of SafeTensors checkpoints: normal numbers of sigma 0.02, in groups that share a
// scale. They are made once and then copied. The codes and the scales of a group are two planes, which become two
// tensors. synth_scheme.h names and declares the tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace invar {

enum class PoolKind : uint8_t {
    f32,
    f16,
    bf16,
    e4m3,     // E4M3 codes, one scale for all
    nvfp4,    // 16 codes E2M1 (low nibble first), an E4M3 scale, one global scale
    mxfp4,    // 32 codes E2M1 (low nibble first), an E8M0 scale
    int4_32,  // 32 codes plus 8 (low nibble first), a BF16 scale
    int4_128,
};

class SynthPool {
  public:
    SynthPool(PoolKind kind, uint64_t seed);

    static int group_of(PoolKind kind);  // weights
    // The scale that all groups share: a weight is code * scale, or code * group scale * scale.
    static float scale_of(PoolKind kind);

    int bytes_of_group(int plane) const { return plane == 0 ? codes_of_group_ : scales_of_group_; }

    // The bytes of groups first_group to first_group + count - 1 of a tensor. They are a function of stream and group
    // number alone, and the groups are the same in both planes. first_group is a multiple of kRun.
    void fill(int plane, uint64_t stream, int64_t first_group, std::span<std::byte> out) const;

    static constexpr int64_t kRun = 64;  // groups copied in one piece

  private:
    void encode_group(std::span<const float> weights, float global);

    PoolKind kind_;
    int codes_of_group_ = 0, scales_of_group_ = 0;
    std::vector<std::byte> planes_[2];
};

}  // namespace invar
