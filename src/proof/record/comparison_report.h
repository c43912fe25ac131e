// A comparison of recordings as text for people and as JSON: the first difference first, then a row a stage. Printing
// is the command's (app/).
#pragma once

#include <string>

#include "proof/record/compare_recordings.h"

namespace invar {

enum class ReportedStages : uint8_t { those_that_differ, all };

struct ComparisonWords {
    // "stage": what differs may have been received. "verb": of a replay, each is that verb's own error.
    std::string_view unit = "stage";
    std::string_view a = "A", b = "B";
};

std::string comparison_as_text(const RecordingComparison& comparison, ReportedStages which,
                               const ComparisonWords& words);
Json comparison_as_json(const RecordingComparison& comparison, ReportedStages which);

// A value with as many digits as tell it from its neighbours, and its bits.
std::string number_text(double value, const std::string& bits);

}  // namespace invar
