#include "proof/audit/audit_duplicates.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <unordered_map>
#include <vector>

#include "base/hash.h"

namespace invar {
namespace {

// For each item the index of an earlier equal one. Items are compared by hash; the hash 0 equals nothing.
std::vector<int64_t> earlier_equal(const std::vector<uint64_t>& hashes) {
    std::unordered_map<uint64_t, int64_t> seen;
    seen.reserve(hashes.size());
    std::vector<int64_t> earlier(hashes.size(), -1);
    for (size_t i = 0; i < hashes.size(); ++i) {
        if (hashes[i] == 0) continue;
        const auto [place, fresh] = seen.try_emplace(hashes[i], static_cast<int64_t>(i));
        if (!fresh) earlier[i] = place->second;
    }
    return earlier;
}

void note(EqualPair& pair, int64_t first, int64_t second) {
    ++pair.count;
    if (pair.second < 0 || second < pair.second) pair.first = first, pair.second = second;
}

class Finder {
  public:
    Finder(const TensorInfo& tensor, const TensorScan& scan) : tensor_(tensor), scan_(scan) {
        const Format& format = *tensor.format;
        unit_bytes_ = format.block_bytes;
        const int64_t run = std::min<int64_t>(kRunWeights, tensor.columns());
        block_bytes_ = format.block_weights == 1 ? run * format.block_bytes : format.block_bytes;
    }

    Duplicates find() {
        const auto matrices = static_cast<int64_t>(scan_.matrices.size());
        const int64_t rows_of_matrix = tensor_.rows() / matrices;
        std::vector<bool> copied(static_cast<size_t>(tensor_.rows()), false);
        if (matrices > 1) find_experts(rows_of_matrix, copied);
        find_rows(copied);
        find_blocks(copied);
        return found_;
    }

  private:
    void find_experts(int64_t rows, std::vector<bool>& copied) {
        const std::vector<uint64_t> hashes = hashes_of_experts(scan_);
        const std::vector<int64_t> earlier = earlier_equal(hashes);
        for (size_t e = 0; e < earlier.size(); ++e) {
            if (earlier[e] < 0) continue;
            note(found_.experts, earlier[e], static_cast<int64_t>(e));
            std::fill_n(copied.begin() + static_cast<int64_t>(e) * rows, rows, true);
        }
    }
    void find_rows(std::vector<bool>& copied) {
        const std::vector<int64_t> earlier = earlier_equal(scan_.row_hashes);
        for (size_t row = 0; row < earlier.size(); ++row) {
            if (earlier[row] < 0 || copied[row]) continue;
            const int64_t block = static_cast<int64_t>(row) * scan_.blocks_of_row;
            if (!beyond_chance(block)) continue;
            note(found_.rows, earlier[row], static_cast<int64_t>(row));
            copied[row] = true;
        }
    }
    void find_blocks(const std::vector<bool>& copied) {
        const std::vector<HashedBlock>& hashes = scan_.block_hashes;
        for (size_t i = 0; i < hashes.size();) {
            size_t end = i + 1;
            while (end < hashes.size() && hashes[end].hash == hashes[i].hash) ++end;
            for (size_t j = i + 1; j < end; ++j) {
                const int64_t block = hashes[j].block;
                if (!copied[static_cast<size_t>(block / scan_.blocks_of_row)] && beyond_chance(block))
                    note(found_.blocks, hashes[i].block, block);
            }
            i = end;
        }
    }

    // Counts which bytes occur at which place of a block; in float formats, of a weight.
    void count_bytes() {
        counts_.assign(static_cast<size_t>(unit_bytes_) * 256, 1.0);
        const auto total = static_cast<int64_t>(tensor_.bytes);
        // Small tensors are counted in full, large ones in a sample of 64 MiB, which is enough for frequencies.
        const int64_t units = total / unit_bytes_;
        const int64_t step = 1 + total / (int64_t{64} << 20);
        for (int64_t unit = 0; unit < units; unit += step) {
            const std::byte* bytes = tensor_.data + unit * unit_bytes_;
            for (int64_t i = 0; i < unit_bytes_; ++i)
                counts_[static_cast<size_t>(i * 256) + std::to_integer<size_t>(bytes[i])] += 1.0;
        }
        log2_units_ = std::log2(static_cast<double>((units + step - 1) / step + 256));
    }
    bool beyond_chance(int64_t block) {
        if (counts_.empty()) count_bytes();
        const std::byte* bytes = tensor_.data + offset_of_block(tensor_, scan_, block);
        const int64_t in_row = block % scan_.blocks_of_row * block_bytes_;
        const int64_t length = std::min(block_bytes_, static_cast<int64_t>(tensor_.row_bytes()) - in_row);
        double chance = 2 * std::log2(static_cast<double>(scan_.blocks));
        for (int64_t i = 0; i < length; ++i) {
            const size_t value = std::to_integer<size_t>(bytes[i]);
            chance += std::log2(counts_[static_cast<size_t>(i % unit_bytes_ * 256) + value]) - log2_units_;
        }
        // 2^-40 gives one false alarm in 10^12 blocks, and so none in a large file.
        constexpr double kBelow = -40;
        if (chance < kBelow)
            found_.log2_chance = std::max(found_.log2_chance == 0 ? -1e300 : found_.log2_chance, chance);
        return chance < kBelow;
    }

    const TensorInfo& tensor_;
    const TensorScan& scan_;
    int64_t unit_bytes_ = 1, block_bytes_ = 1;
    std::vector<double> counts_;
    double log2_units_ = 0;
    Duplicates found_;
};

}  // namespace

std::vector<uint64_t> hashes_of_experts(const TensorScan& scan) {
    const size_t rows = scan.row_hashes.size() / scan.matrices.size();
    std::vector<uint64_t> hashes;
    for (size_t e = 0; e < scan.matrices.size(); ++e) {
        const std::span<const uint64_t> mine = std::span(scan.row_hashes).subspan(e * rows, rows);
        const bool dull = std::all_of(mine.begin(), mine.end(), [](uint64_t hash) { return hash == 0; });
        hashes.push_back(dull ? 0 : std::max<uint64_t>(1, short_hash_of(std::as_bytes(mine))));
    }
    return hashes;
}

Duplicates find_duplicates(const TensorInfo& tensor, const TensorScan& scan) { return Finder(tensor, scan).find(); }

}  // namespace invar
