// Tolerances are a JSON file that says for which stages bits cannot be equal, how far they may be apart, and why.
//   {"tolerances": [{"stage": "layer.*.attention", "relative_rms": 1e-6, "reason": "other order of the sum"}, ...]}
// "stage" is a glob for the whole stage name; the first entry that matches counts. All its bounds must hold:
//   relative_rms      |a - b| / |a| of the whole stage
//   worst             the greatest |a - b| of an element, in units of the stage's root mean square
//   absolute          the greatest |a - b| of an element
//   set               true: integers may stand in another order
//   routing_margin    integers may differ where the margin to the next expert, in A, is at most this
//   missing           true: the stage may be absent on one side
// Without a file, all bits must be equal. No tolerance covers a NaN, an infinity or another shape.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "proof/verify/stage_comparison.h"

namespace invar {

struct Tolerance {
    std::string stage;  // glob
    std::optional<double> relative_rms, worst, absolute, routing_margin;
    bool set = false, missing = false;
    std::string reason;

    bool admits(const StageComparison& stage) const;
};

class Tolerances {
  public:
    // Errors: an entry without a reason or without a bound, an unknown field, a negative bound.
    static Result<Tolerances> parse(std::string_view json, const std::string& file);
    static Result<Tolerances> load(const std::filesystem::path& path);

    const Tolerance* find(const StageKey& key) const;
    bool empty() const { return entries_.empty(); }

  private:
    std::vector<Tolerance> entries_;
};

}  // namespace invar
