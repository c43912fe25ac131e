// One pass over the bytes of a tensor: everything that the audit's checks (audit_weights.h) decide upon, as counts,
// first places, distributions and hashes. It draws no conclusion. The numbers do not depend on the number of threads.
//
// A block is the format's block; in float formats, which have none, a run of up to 256 weights of a row.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include "files/tensor_info.h"
#include "machine/thread_pool.h"

namespace invar {

inline constexpr int kRunWeights = 256;  // of a float row that count as a block

// How often something was met, and where first (the lowest block; `detail` is a scale field or a weight of that block).
struct Tally {
    int64_t count = 0, block = -1, detail = 0;

    void add(int64_t at, int64_t what) {
        ++count;
        if (block < 0 || at < block) block = at, detail = what;
    }
    void add(const Tally& other);
};

// A distribution of magnitudes in eighths of an octave: the bin of |x| is the upper 11 of the 31 bits of its binary32.
class Magnitudes {
  public:
    static constexpr int kBins = 2048, kBinsPerOctave = 8;
    static int bin(float value);

    void add(float value) { ++counts_[static_cast<size_t>(bin(value))]; }
    void add(const Magnitudes& other);
    int64_t total() const;            // zeros left out, as everywhere here
    int median() const;               // bin; 0 when empty
    int deviation(int median) const;  // median of |bin - median|
    int64_t above(int limit) const;   // in bins > limit
    int64_t below(int limit) const;   // in bins < limit
    static float value_of(int bin);   // the smallest magnitude in it

  private:
    std::array<int64_t, kBins> counts_{};
};

// The block with the largest or the smallest non-zero scale (float formats: largest weight); the lowest among equals.
struct Extreme {
    float value = 0;
    int64_t block = -1;
    int field = 0;
};

struct ScaleGroup {
    Magnitudes magnitudes;
    Extreme largest, smallest;
};

struct MatrixSums {  // of one expert, or of the tensor
    double sum = 0, sum_of_squares = 0;
    int64_t finite = 0;  // weights
};

struct HashedBlock {
    uint64_t hash = 0;
    int64_t block = 0;
};

struct TensorScan {
    int64_t blocks = 0, blocks_of_row = 0;

    Tally non_finite_weights;  // with a sound scale; `detail`: weight of the block
    Tally reserved_scales;     // `detail`: field
    Tally dead_rows;           // every weight zero; `block`: the row's first
    Tally dead_blocks;         // in rows that are not dead
    Tally constant_blocks;     // one value other than zero, at least 32 times
    Tally huge_weights;        // above 65504, the largest binary16; `detail`: weight of the block
    Tally coarse_scales;       // subnormal binary16 of fewer than 32 steps: rounded by 1.6 % or more

    std::array<ScaleGroup, 2> scales;  // by ScaleField::group
    Magnitudes block_rms;
    float least = std::numeric_limits<float>::infinity(), most = -least;  // finite weight
    std::vector<MatrixSums> matrices;                                     // one, or one an expert

    std::vector<uint64_t> row_hashes;       // of tensors with at least two dimensions; 0: nothing but constant blocks
    std::vector<HashedBlock> block_hashes;  // sorted; blocks of at least 32 weights that are not constant
    int64_t hashed_one_in = 1;              // only blocks whose hash is a multiple of it, to bound memory
};

// Bytes from the start of the tensor to a block; row of a block.
int64_t offset_of_block(const TensorInfo& tensor, const TensorScan& scan, int64_t block);

TensorScan scan_tensor(const TensorInfo& tensor, ThreadPool& pool);

}  // namespace invar
