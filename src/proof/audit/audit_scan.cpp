#include "proof/audit/audit_scan.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "base/hash.h"
#include "proof/audit/block_scales.h"

namespace invar {
namespace {

constexpr int64_t kSlabBytes = int64_t{1} << 18;         // bytes of the file that a thread scans at a time
constexpr int64_t kMostHashedBlocks = int64_t{1} << 23;  // 128 MiB of HashedBlock
constexpr int kLeastHashedWeights = 32;                  // shorter blocks coincide by chance
constexpr int kLeastSteps = 32;
constexpr float kLargestBinary16 = 65504.0f;
constexpr uint32_t kMagnitudeMask = 0x7FFFFFFF, kInfinityBits = 0x7F800000;

uint32_t magnitude_bits(float value) { return std::bit_cast<uint32_t>(value) & kMagnitudeMask; }

// Rows of one matrix that a thread scans together.
struct Slab {
    int64_t matrix = 0, first_row = 0, rows = 0;  // rows of the tensor
};

// Numbers that one block yields.
struct BlockNumbers {
    uint32_t largest = 0;  // magnitude bits
    float least = 0, most = 0;
    double sum = 0, sum_of_squares = 0;
    bool finite() const { return largest < kInfinityBits; }
    bool zero() const { return largest == 0; }
};

BlockNumbers measure(const float* weights, int64_t count) {
    // Eight partial sums, so that the additions of a loop do not wait for each other. Blocks have at most 256 weights.
    constexpr int kLanes = 8;
    double sums[kLanes] = {}, squares[kLanes] = {};
    BlockNumbers numbers{.largest = 0, .least = weights[0], .most = weights[0]};
    for (int64_t i = 0; i < count; ++i) {
        const float w = weights[i];
        numbers.largest = std::max(numbers.largest, magnitude_bits(w));
        numbers.least = std::min(numbers.least, w);
        numbers.most = std::max(numbers.most, w);
        sums[i % kLanes] += w;
        squares[i % kLanes] += double{w} * w;
    }
    numbers.sum = std::accumulate(sums, sums + kLanes, 0.0);
    numbers.sum_of_squares = std::accumulate(squares, squares + kLanes, 0.0);
    return numbers;
}

// The findings of one worker. They are merged by addition, in any order.
class Worker {
  public:
    Worker(const TensorInfo& tensor, int64_t hashed_one_in)
        : tensor_(tensor),
          format_(*tensor.format),
          fields_(tensor.format->scales),
          block_weights_(format_.block_weights == 1 ? kRunWeights : format_.block_weights),
          blocks_of_row_((tensor.columns() + block_weights_ - 1) / block_weights_),
          hashed_one_in_(static_cast<uint64_t>(hashed_one_in)),
          weights_(static_cast<size_t>(tensor.columns())) {}

    MatrixSums scan(const Slab& slab, std::vector<uint64_t>& row_hashes) {
        sums_ = {};
        for (int64_t row = slab.first_row; row < slab.first_row + slab.rows; ++row) {
            const std::byte* bytes = tensor_.data + row * static_cast<int64_t>(tensor_.row_bytes());
            const bool varies = scan_row(row, bytes);
            if (row_hashes.empty()) continue;
            const uint64_t hash = short_hash_of({bytes, static_cast<size_t>(tensor_.row_bytes())});
            row_hashes[static_cast<size_t>(row)] = varies ? std::max<uint64_t>(hash, 1) : 0;
        }
        return sums_;
    }
    void merge_into(TensorScan& scan) {
        scan.non_finite_weights.add(found_.non_finite_weights);
        scan.reserved_scales.add(found_.reserved_scales);
        scan.dead_rows.add(found_.dead_rows);
        scan.dead_blocks.add(found_.dead_blocks);
        scan.constant_blocks.add(found_.constant_blocks);
        scan.huge_weights.add(found_.huge_weights);
        scan.coarse_scales.add(found_.coarse_scales);
        scan.block_rms.add(found_.block_rms);
        for (size_t g = 0; g < scan.scales.size(); ++g) merge(scan.scales[g], found_.scales[g]);
        scan.least = std::min(scan.least, found_.least);
        scan.most = std::max(scan.most, found_.most);
        scan.block_hashes.insert(scan.block_hashes.end(), found_.block_hashes.begin(), found_.block_hashes.end());
        found_.block_hashes = {};
    }

  private:
    static void merge(ScaleGroup& into, const ScaleGroup& from) {
        into.magnitudes.add(from.magnitudes);
        if (from.largest.block < 0) return;
        note_largest(into.largest, from.largest);
        note_smallest(into.smallest, from.smallest);
    }
    static void note_largest(Extreme& extreme, const Extreme& other) {
        const bool beyond =
            other.value > extreme.value || (other.value == extreme.value && other.block < extreme.block);
        if (extreme.block < 0 || beyond) extreme = other;
    }
    static void note_smallest(Extreme& extreme, const Extreme& other) {
        const bool beyond =
            other.value < extreme.value || (other.value == extreme.value && other.block < extreme.block);
        if (extreme.block < 0 || beyond) extreme = other;
    }
    void note_scale(int group, float magnitude, int64_t block, int field) {
        if (magnitude == 0) return;
        ScaleGroup& scales = found_.scales[static_cast<size_t>(group)];
        scales.magnitudes.add(magnitude);
        const Extreme extreme{.value = magnitude, .block = block, .field = field};
        note_largest(scales.largest, extreme);
        note_smallest(scales.smallest, extreme);
    }

    // Returns whether any block of the row holds more than one value.
    bool scan_row(int64_t row, const std::byte* bytes) {
        format_.decode(bytes, tensor_.columns(), weights_.data());
        dead_in_row_.clear();
        varying_in_row_ = 0;
        for (int64_t b = 0; b < blocks_of_row_; ++b) {
            const int64_t first = b * block_weights_, count = std::min(block_weights_, tensor_.columns() - first);
            scan_block(row * blocks_of_row_ + b,
                       {bytes + first / format_.block_weights * format_.block_bytes,
                        static_cast<size_t>(format_.row_bytes(count))},
                       {weights_.data() + first, static_cast<size_t>(count)});
        }
        if (static_cast<int64_t>(dead_in_row_.size()) == blocks_of_row_) {
            found_.dead_rows.add(row * blocks_of_row_, 0);
        } else {
            for (const int64_t block : dead_in_row_) found_.dead_blocks.add(block, 0);
        }
        return varying_in_row_ > 0;
    }

    // Returns whether every scale of the block is a number.
    bool read_scales(int64_t block, const std::byte* bytes) {
        bool sound = true;
        for (size_t f = 0; f < fields_.size(); ++f) {
            const ScaleValue scale = read_scale(fields_[f], bytes);
            if (scale.reserved) {
                found_.reserved_scales.add(block, static_cast<int64_t>(f));
                sound = false;
            } else {
                note_scale(fields_[f].group, std::fabs(scale.value), block, static_cast<int>(f));
                if (scale.subnormal_steps > 0 && scale.subnormal_steps < kLeastSteps)
                    found_.coarse_scales.add(block, static_cast<int64_t>(f));
            }
        }
        return sound;
    }

    void scan_block(int64_t block, std::span<const std::byte> bytes, std::span<const float> weights) {
        if (!read_scales(block, bytes.data())) return;
        const auto count = static_cast<int64_t>(weights.size());
        const BlockNumbers numbers = measure(weights.data(), count);
        if (!numbers.finite()) {
            const auto bad = std::find_if(weights.begin(), weights.end(), [](float w) { return !std::isfinite(w); });
            found_.non_finite_weights.add(block, bad - weights.begin());
            return;
        }
        sums_.sum += numbers.sum;
        sums_.sum_of_squares += numbers.sum_of_squares;
        sums_.finite += count;
        found_.least = std::min(found_.least, numbers.least);
        found_.most = std::max(found_.most, numbers.most);
        if (numbers.zero()) {
            dead_in_row_.push_back(block);
            return;
        }
        const float largest = std::bit_cast<float>(numbers.largest);
        if (fields_.empty()) note_scale(0, largest, block, 0);
        if (largest > kLargestBinary16) {
            const auto huge =
                std::find_if(weights.begin(), weights.end(), [](float w) { return std::fabs(w) > kLargestBinary16; });
            found_.huge_weights.add(block, huge - weights.begin());
        }
        found_.block_rms.add(static_cast<float>(std::sqrt(numbers.sum_of_squares / static_cast<double>(count))));
        if (numbers.least == numbers.most) {
            if (count >= kLeastHashedWeights) found_.constant_blocks.add(block, 0);
            return;
        }
        ++varying_in_row_;
        if (count < kLeastHashedWeights || tensor_.shape.size() < 2) return;
        const uint64_t hash = short_hash_of(bytes);
        if (hash % hashed_one_in_ == 0) found_.block_hashes.push_back({hash, block});
    }

    const TensorInfo& tensor_;
    const Format& format_;
    const std::span<const ScaleField> fields_;
    const int64_t block_weights_, blocks_of_row_;
    const uint64_t hashed_one_in_;
    std::vector<float> weights_;
    std::vector<int64_t> dead_in_row_;
    int64_t varying_in_row_ = 0;
    MatrixSums sums_;  // of the slab
    TensorScan found_;
};

std::vector<Slab> cut(const TensorInfo& tensor, int64_t matrices) {
    const int64_t rows = tensor.rows() / matrices;
    const int64_t slab_rows = std::max<int64_t>(1, kSlabBytes / static_cast<int64_t>(tensor.row_bytes()));
    std::vector<Slab> slabs;
    for (int64_t matrix = 0; matrix < matrices; ++matrix) {
        for (int64_t row = 0; row < rows; row += slab_rows)
            slabs.push_back({matrix, matrix * rows + row, std::min(slab_rows, rows - row)});
    }
    return slabs;
}

}  // namespace

void Tally::add(const Tally& other) {
    count += other.count;
    if (other.block >= 0 && (block < 0 || other.block < block)) block = other.block, detail = other.detail;
}

int Magnitudes::bin(float value) { return static_cast<int>(magnitude_bits(value) >> 20); }

float Magnitudes::value_of(int bin) { return std::bit_cast<float>(static_cast<uint32_t>(bin) << 20); }

void Magnitudes::add(const Magnitudes& other) {
    for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
}

int64_t Magnitudes::total() const { return std::accumulate(counts_.begin(), counts_.end(), int64_t{0}); }

int Magnitudes::median() const {
    const int64_t half = (total() + 1) / 2;
    int64_t seen = 0;
    for (int i = 0; i < kBins; ++i) {
        seen += counts_[static_cast<size_t>(i)];
        if (seen >= half && seen > 0) return i;
    }
    return 0;
}

int Magnitudes::deviation(int median) const {
    const int64_t half = (total() + 1) / 2;
    int64_t seen = counts_[static_cast<size_t>(median)];
    int distance = 0;
    while (seen < half && distance < kBins) {
        ++distance;
        if (median - distance >= 0) seen += counts_[static_cast<size_t>(median - distance)];
        if (median + distance < kBins) seen += counts_[static_cast<size_t>(median + distance)];
    }
    return distance;
}

int64_t Magnitudes::above(int limit) const {
    const int first = std::clamp(limit + 1, 0, kBins);
    return std::accumulate(counts_.begin() + first, counts_.end(), int64_t{0});
}

int64_t Magnitudes::below(int limit) const {
    return std::accumulate(counts_.begin(), counts_.begin() + std::clamp(limit, 0, kBins), int64_t{0});
}

int64_t offset_of_block(const TensorInfo& tensor, const TensorScan& scan, int64_t block) {
    const int64_t row = block / scan.blocks_of_row, in_row = block % scan.blocks_of_row;
    const Format& format = *tensor.format;
    const int64_t block_bytes = format.block_weights == 1 ? kRunWeights * format.block_bytes : format.block_bytes;
    return row * static_cast<int64_t>(tensor.row_bytes()) + in_row * block_bytes;
}

TensorScan scan_tensor(const TensorInfo& tensor, ThreadPool& pool) {
    TensorScan scan;
    const int64_t block_weights = tensor.format->block_weights == 1 ? kRunWeights : tensor.format->block_weights;
    scan.blocks_of_row = (tensor.columns() + block_weights - 1) / block_weights;
    scan.blocks = tensor.rows() * scan.blocks_of_row;
    scan.hashed_one_in = (scan.blocks + kMostHashedBlocks - 1) / kMostHashedBlocks;
    const int64_t matrices = tensor.shape.size() > 2 ? tensor.rows() / tensor.shape[tensor.shape.size() - 2] : 1;
    scan.matrices.resize(static_cast<size_t>(matrices));
    if (tensor.shape.size() > 1) scan.row_hashes.resize(static_cast<size_t>(tensor.rows()));

    const std::vector<Slab> slabs = cut(tensor, matrices);
    std::vector<MatrixSums> sums(slabs.size());
    std::vector<std::unique_ptr<Worker>> workers(static_cast<size_t>(pool.threads()));
    pool.parallel_items(static_cast<int64_t>(slabs.size()), [&](int64_t item, int worker) {
        std::unique_ptr<Worker>& mine = workers[static_cast<size_t>(worker)];
        if (!mine) mine = std::make_unique<Worker>(tensor, scan.hashed_one_in);
        const auto i = static_cast<size_t>(item);
        sums[i] = mine->scan(slabs[i], scan.row_hashes);
    });
    for (size_t i = 0; i < slabs.size(); ++i) {  // in a fixed order, because rounding makes a sum depend on it
        MatrixSums& total = scan.matrices[static_cast<size_t>(slabs[i].matrix)];
        total.sum += sums[i].sum;
        total.sum_of_squares += sums[i].sum_of_squares;
        total.finite += sums[i].finite;
    }
    for (const auto& worker : workers) {
        if (worker) worker->merge_into(scan);
    }
    std::sort(scan.block_hashes.begin(), scan.block_hashes.end(), [](const HashedBlock& a, const HashedBlock& b) {
        return std::tie(a.hash, a.block) < std::tie(b.hash, b.block);
    });
    return scan;
}

}  // namespace invar
