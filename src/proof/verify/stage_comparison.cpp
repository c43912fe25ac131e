#include "proof/verify/stage_comparison.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/check.h"

namespace invar {
namespace {

ElementDifference difference_at(int64_t position, int64_t index, const RowValues& a, const RowValues& b,
                                std::span<const int64_t> elements) {
    return {.position = position,
            .element = elements.empty() ? index : elements[static_cast<size_t>(index)],
            .a = a.value(index),
            .b = b.value(index),
            .a_bits = a.bits(index),
            .b_bits = b.bits(index)};
}

}  // namespace

std::string RowValues::bits(int64_t i) const {
    const std::byte* place = data + i * element_bytes(type);
    if (type == ElementType::f64) {
        uint64_t bits;
        std::memcpy(&bits, place, sizeof bits);
        return fmt::format("0x{:016x}", bits);
    }
    uint32_t bits;
    std::memcpy(&bits, place, sizeof bits);
    return type == ElementType::i32 ? fmt::format("{}", static_cast<int32_t>(bits)) : fmt::format("0x{:08x}", bits);
}

bool masks_with_infinity(std::string_view stage_name) {
    constexpr std::array<std::string_view, 2> kMasked = {"attention_scores", "sampler.penalised"};
    return std::find(kMasked.begin(), kMasked.end(), stage_name) != kMasked.end();
}

std::string_view outcome_name(StageOutcome outcome) {
    constexpr std::array<std::string_view, 6> kNames = {"equal",      "tolerated", "different",
                                                        "non-finite", "mismatch",  "skipped"};
    return kNames[static_cast<size_t>(outcome)];
}

StageAccumulator::StageAccumulator(const StageKey& key) : masked_(masks_with_infinity(key.name)) {}

void StageAccumulator::add(int64_t position, const RowValues& a, const RowValues& b, std::span<const int64_t> elements,
                           std::optional<double> margin) {
    CHECK(a.count == b.count, "rows of other widths are a mismatch, not a difference");
    CHECK((a.type == ElementType::i32) == (b.type == ElementType::i32), "kinds of numbers are compared before");
    StageFigures& f = figures_;
    ++f.positions;
    f.values += a.count;
    if (a.type == ElementType::i32) return add_integers(position, a, b, margin);
    const bool same_type = a.type == b.type;
    const auto bytes = static_cast<size_t>(element_bytes(a.type));
    for (int64_t i = 0; i < a.count; ++i) {
        const double x = a.value(i), y = b.value(i);
        const bool masked = masked_ && x == -INFINITY && y == -INFINITY;
        if (masked) continue;
        if (!std::isfinite(x) || !std::isfinite(y)) {
            if (f.non_finite++ == 0) f.first_non_finite = difference_at(position, i, a, b, elements);
            continue;
        }
        const double d = x - y;
        sum_aa_ += x * x;
        sum_bb_ += y * y;
        sum_ab_ += x * y;
        sum_dd_ += d * d;
        const size_t at = static_cast<size_t>(i) * bytes;
        if (same_type ? std::memcmp(a.data + at, b.data + at, bytes) == 0 : x == y) continue;
        if (f.differing++ == 0) f.first = difference_at(position, i, a, b, elements);
        if (!f.worst || std::fabs(d) > f.greatest) {
            f.greatest = std::fabs(d);
            f.worst = difference_at(position, i, a, b, elements);
        }
    }
}

void StageAccumulator::add_integers(int64_t position, const RowValues& a, const RowValues& b,
                                    std::optional<double> margin) {
    if (std::memcmp(a.data, b.data, static_cast<size_t>(a.count) * 4) == 0) return;
    StageFigures& f = figures_;
    std::multiset<int64_t> set_a, set_b;
    int64_t first = -1;
    for (int64_t i = 0; i < a.count; ++i) {
        const auto x = static_cast<int64_t>(a.value(i)), y = static_cast<int64_t>(b.value(i));
        set_a.insert(x);
        set_b.insert(y);
        if (x == y) continue;
        ++f.differing;
        if (first < 0) first = i;
        const auto distance = static_cast<double>(std::abs(x - y));
        if (!f.worst || distance > f.greatest) {
            f.greatest = distance;
            f.worst = difference_at(position, i, a, b, {});
        }
    }
    if (!f.first) {
        f.first = difference_at(position, first, a, b, {});
        f.margin = margin;
    }
    ++(set_a == set_b ? f.differing_orders : f.differing_sets);
    margins_known_ = margins_known_ && margin.has_value();
    if (margin) widest_margin_ = std::max(widest_margin_.value_or(*margin), *margin);
}

void StageAccumulator::add_hashes(int64_t position, const StageStatistics& a, const StageStatistics& b,
                                  int64_t values) {
    StageFigures& f = figures_;
    ++f.positions;
    f.values += values;
    f.by_hash = true;
    if (!masked_) f.non_finite += a.non_finite + b.non_finite;
    if (a.hash == b.hash) return;
    const ElementDifference difference{
        .position = position, .element = -1, .a = a.rms, .b = b.rms, .a_bits = a.hash, .b_bits = b.hash};
    if (f.differing++ == 0) f.first = difference;
}

StageFigures StageAccumulator::figures() const {
    StageFigures result = figures_;
    if (result.by_hash) return result;
    result.relative_rms = sum_dd_ == 0 ? 0 : sum_aa_ == 0 ? INFINITY : std::sqrt(sum_dd_) / std::sqrt(sum_aa_);
    if (std::isnan(result.relative_rms)) result.relative_rms = INFINITY;  // the squares exceed 1e308
    result.rms = result.values == 0 ? 0 : std::sqrt(sum_aa_ / static_cast<double>(result.values));
    const double lengths = std::sqrt(sum_aa_) * std::sqrt(sum_bb_);
    result.cosine = lengths == 0 ? (sum_aa_ == sum_bb_ ? 1 : 0) : sum_ab_ / lengths;
    return result;
}

}  // namespace invar
