// Pieces that several sections of the page share: headings, cards, tiles, and the stages of an accuracy report grouped
// by name. Texts are markup: whatever came from a file must have been escaped (html_text.h).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "proof/verify/verify.h"

namespace invar {

std::string section(std::string_view id, std::string_view title, std::string_view lead, std::string_view body);
std::string figure(std::string_view title, std::string_view chart, std::string_view note);
std::string tile(std::string_view label, std::string_view value, std::string_view note);

// All layers of one stage name. Names are in forward order of first appearance.
struct StageOfLayers {
    std::string name;
    std::map<int, const StageAccuracy*> of_layer;  // -1: outside the layers
    bool integers = false;
};

std::vector<StageOfLayers> rows_of(const AccuracyReport& accuracy);
int64_t layers_of(const VerifyReport& report);  // the report must have an accuracy part

}  // namespace invar
