// What the comparison of one stage of two recordings comes to, and the accumulator that makes it position by position:
// used for two recordings (compare_recordings.h) and for a pass against a recording (replay.h). A metric here is a
// total function: a non-finite value or another shape is a finding of its own, never a number. Whether the figures are
// good enough is decided by tolerances.h.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "proof/record/recording.h"

namespace invar {

// The values of one position as they lie somewhere.
struct RowValues {
    ElementType type = ElementType::f32;
    const std::byte* data = nullptr;
    int64_t count = 0;

    double value(int64_t i) const { return value_at(type, data, i); }
    std::string bits(int64_t i) const;  // "0x3f800000"; of integers the value
};

struct ElementDifference {
    int64_t position = 0, element = 0;  // of all the elements of the position
    double a = 0, b = 0;
    std::string a_bits, b_bits;
};

struct StageFigures {
    int64_t positions = 0, values = 0;              // compared
    int64_t differing = 0;                          // in their bits; of different types (f32 and f64): as numbers
    int64_t non_finite = 0;                         // on either side
    std::optional<ElementDifference> first, worst;  // worst: where |a - b| is greatest
    std::optional<ElementDifference> first_non_finite;
    double relative_rms = 0;       // |a - b| / |a| over all values compared, as vectors; infinite where a is all 0
    double greatest = 0;           // |a - b|
    double rms = 0;                // of a
    double cosine = 1;             // only for contrast: it passes what it should not (docs/proof.md)
    bool by_hash = false;          // only hashes were there: `differing` counts positions, the others are unknown
    int64_t differing_sets = 0;    // of integers: positions where other integers were chosen
    int64_t differing_orders = 0;  // positions where the same were chosen in another order
    std::optional<double> margin;  // routing margin in A at the first position whose integers differ, where recorded

    bool equal() const { return differing == 0 && non_finite == 0; }
};

class StageAccumulator {
  public:
    // Stages where -inf means "not looked at" (see masks_with_infinity).
    explicit StageAccumulator(const StageKey& key);

    // `elements`: which elements the values are, where that is not 0 .. count - 1. Both rows have as many values, and
    // both are integers or neither is. `margin`: of the routing at this position, if known.
    void add(int64_t position, const RowValues& a, const RowValues& b, std::span<const int64_t> elements = {},
             std::optional<double> margin = std::nullopt);
    void add_hashes(int64_t position, const StageStatistics& a, const StageStatistics& b, int64_t values);

    StageFigures figures() const;
    // The integers' margins: of the positions whose sets or orders differ, the widest; nothing where one is unknown.
    std::optional<double> widest_margin() const { return margins_known_ ? widest_margin_ : std::nullopt; }

  private:
    void add_integers(int64_t position, const RowValues& a, const RowValues& b, std::optional<double> margin);

    bool masked_;
    StageFigures figures_;
    double sum_aa_ = 0, sum_bb_ = 0, sum_ab_ = 0, sum_dd_ = 0;
    bool margins_known_ = true;
    std::optional<double> widest_margin_;
};

// Attention scores and penalised logits are -inf where nothing is looked at; everywhere else an infinity is a failure.
bool masks_with_infinity(std::string_view stage_name);

enum class StageOutcome : uint8_t {
    equal,      // every bit
    tolerated,  // not equal, within a tolerance that has a reason
    different,
    non_finite,  // NaN or infinity, whatever the tolerance
    mismatch,    // other shapes or kinds of numbers
    skipped,     // could not be compared: missing on one side
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
    bool waived = false;                  // a skipped stage whose absence has a stated reason
    int64_t skipped_positions = 0;        // that only one side has
};

}  // namespace invar
