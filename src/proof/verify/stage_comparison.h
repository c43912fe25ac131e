// The result of comparing one stage of two recordings, and the accumulator that computes it position by position. It
// serves two recordings (compare_recordings.h) as well as a pass against a recording (replay.h). Every metric is
// defined for all inputs: a value that is not finite or another shape is reported as such and never as a number.
// tolerances.h decides whether the figures are good enough.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "proof/record/recording.h"

namespace invar {

// The values of one position, in memory that belongs to others.
struct RowValues {
    ElementType type = ElementType::f32;
    const std::byte* data = nullptr;
    int64_t count = 0;

    double value(int64_t i) const { return value_at(type, data, i); }
    std::string bits(int64_t i) const;  // "0x3f800000"; for integers the value
};

struct ElementDifference {
    int64_t position = 0, element = 0;  // index in the whole position
    double a = 0, b = 0;
    std::string a_bits, b_bits;
};

struct StageFigures {
    int64_t positions = 0, values = 0;              // how many were compared
    int64_t differing = 0;                          // in bits; f32 against f64 as numbers
    int64_t non_finite = 0;                         // on either side
    std::optional<ElementDifference> first, worst;  // worst: where |a - b| is largest
    std::optional<ElementDifference> first_non_finite;
    double relative_rms = 0;       // |a - b| / |a| of all compared values as vectors; infinite if a is all 0
    double greatest = 0;           // largest |a - b|
    double rms = 0;                // RMS of a
    double cosine = 1;             // shown for contrast only: it misses real faults (docs/proof.md)
    bool by_hash = false;          // only hashes were recorded: `differing` counts positions, other figures are unknown
    int64_t differing_sets = 0;    // for integers: positions where other integers were chosen
    int64_t differing_orders = 0;  // positions where the same integers were chosen in another order
    std::optional<double> margin;  // routing margin in A at the first position whose integers differ, if recorded

    bool equal() const { return differing == 0 && non_finite == 0; }
};

class StageAccumulator {
  public:
    // The key says whether -inf means "not looked at" (see masks_with_infinity).
    explicit StageAccumulator(const StageKey& key);

    // `elements`: which elements the values are, if not 0 .. count - 1. Both rows must have the same number of values,
    // and both or neither must be integers. `margin`: that of the routing at this position, if known.
    void add(int64_t position, const RowValues& a, const RowValues& b, std::span<const int64_t> elements = {},
             std::optional<double> margin = std::nullopt);
    void add_hashes(int64_t position, const StageStatistics& a, const StageStatistics& b, int64_t values);

    StageFigures figures() const;
    // The widest routing margin of the positions whose integers differ in value or order; nothing if one is unknown.
    std::optional<double> widest_margin() const { return margins_known_ ? widest_margin_ : std::nullopt; }

  private:
    void add_integers(int64_t position, const RowValues& a, const RowValues& b, std::optional<double> margin);

    bool masked_;
    StageFigures figures_;
    double sum_aa_ = 0, sum_bb_ = 0, sum_ab_ = 0, sum_dd_ = 0;
    bool margins_known_ = true;
    std::optional<double> widest_margin_;
};

// Attention scores and penalised logits are -inf where nothing is looked at. In all other stages an infinity is a
// failure.
bool masks_with_infinity(std::string_view stage_name);

enum class StageOutcome : uint8_t {
    equal,      // in every bit
    tolerated,  // different, but within a tolerance that has a reason
    different,
    non_finite,  // a NaN or an infinity, whatever the tolerance
    mismatch,    // another shape or another kind of numbers
    skipped,     // not compared, because one side lacks it
};
std::string_view outcome_name(StageOutcome outcome);
inline bool is_failure(StageOutcome outcome) {
    return outcome == StageOutcome::different || outcome == StageOutcome::non_finite ||
           outcome == StageOutcome::mismatch;
}

struct StageComparison {
    StageKey key;
    std::string verb, kernel_a, kernel_b;
    StageOutcome outcome = StageOutcome::skipped;
    StageFigures figures;
    std::optional<double> widest_margin;  // StageAccumulator::widest_margin
    std::string note;                     // why it was skipped, mismatched or tolerated
    bool waived = false;                  // skipped, but with a stated reason for its absence
    int64_t skipped_positions = 0;        // positions that only one side has
};

}  // namespace invar
