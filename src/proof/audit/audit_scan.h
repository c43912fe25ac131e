// One pass over the bytes of a tensor. It collects the counts, first places, distributions and hashes on which the
// audit's checks (audit_weights.h) decide, and draws no conclusion. The numbers do not depend on the number of threads.
//
// A block is the format's block. Float formats have none; there a block is a run of up to 256 weights of a row.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include "files/tensor_info.h"
#include "machine/thread_pool.h"

namespace invar {

inline constexpr int kRunWeights = 256;  // weights of a float row that count as one block

// How often something occurred, and its first place: the lowest block, and in `detail` a scale field or a weight of it.
struct Tally {
    int64_t count = 0, block = -1, detail = 0;

    void add(int64_t at, int64_t what) {
        ++count;
        if (block < 0 || at < block) block = at, detail = what;
    }
    void add(const Tally& other);
};

// A distribution of magnitudes in bins of an eighth of an octave. The bin of |x| is the upper 11 of the 31 bits of its
// binary32. Zeros are left out everywhere.
class Magnitudes {
  public:
    static constexpr int kBins = 2048, kBinsPerOctave = 8;
    static int bin(float value);

    void add(float value) { ++counts_[static_cast<size_t>(bin(value))]; }
    void add(const Magnitudes& other);
    int64_t total() const;            // how many magnitudes were added
    int median() const;               // as a bin; 0 if empty
    int deviation(int median) const;  // median of |bin - median|
    int64_t above(int limit) const;   // in bins > limit
    int64_t below(int limit) const;   // in bins < limit
    static float value_of(int bin);   // the smallest magnitude in the bin

  private:
    std::array<int64_t, kBins> counts_{};
};

// The block with the largest or smallest non-zero scale (in float formats: weight); among equals the lowest block.
struct Extreme {
    float value = 0;
    int64_t block = -1;
    int field = 0;
};

struct ScaleGroup {
    Magnitudes magnitudes;
    Extreme largest, smallest;
};

struct MatrixSums {  // of one expert, or of the whole tensor if it has none
    double sum = 0, sum_of_squares = 0;
    int64_t finite = 0;  // finite weights
};

struct HashedBlock {
    uint64_t hash = 0;
    int64_t block = 0;
};

struct TensorScan {
    int64_t blocks = 0, blocks_of_row = 0;

    Tally non_finite_weights;  // whose scale is finite; `detail`: weight of the block
    Tally reserved_scales;     // `detail`: scale field
    Tally dead_rows;           // every weight is zero; `block`: the first of the row
    Tally dead_blocks;         // in rows that are not dead
    Tally constant_blocks;     // all weights, at least 32, have one value that is not zero
    Tally huge_weights;        // above 65504, the largest binary16; `detail`: weight of the block
    Tally coarse_scales;       // subnormal binary16 below 32 steps, which is rounded by 1.6 % or more

    std::array<ScaleGroup, 2> scales;  // indexed by ScaleField::group
    Magnitudes block_rms;
    float least = std::numeric_limits<float>::infinity(), most = -least;  // the least and the greatest finite weight
    std::vector<MatrixSums> matrices;                                     // one, or one per expert

    std::vector<uint64_t> row_hashes;  // if there are at least two dimensions; 0: all blocks of the row are constant
    std::vector<HashedBlock> block_hashes;  // sorted; only blocks of at least 32 weights that are not constant
    int64_t hashed_one_in = 1;              // to bound memory, only blocks whose hash is a multiple of this are kept
};

// Bytes from the start of the tensor to a block, and the row of a block.
int64_t offset_of_block(const TensorInfo& tensor, const TensorScan& scan, int64_t block);

TensorScan scan_tensor(const TensorInfo& tensor, ThreadPool& pool);

}  // namespace invar
