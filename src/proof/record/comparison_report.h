// Prints a comparison of recordings as text and as JSON: the first difference, then one row per stage. The commands
// print it (app/).
#pragma once

#include <string>

#include "proof/record/compare_recordings.h"

namespace invar {

enum class ReportedStages : uint8_t { those_that_differ, all };

struct ComparisonWords {
    // "stage" for a diff, where a stage may differ because of its inputs. "verb" for a replay, where each difference is
    // that verb's own error.
    std::string_view unit = "stage";
    std::string_view a = "A", b = "B";
};

std::string comparison_as_text(const RecordingComparison& comparison, ReportedStages which,
                               const ComparisonWords& words);
Json comparison_as_json(const RecordingComparison& comparison, ReportedStages which);

// A value with as many digits as distinguish it from its neighbours, and its bits.
std::string number_text(double value, const std::string& bits);

}  // namespace invar
