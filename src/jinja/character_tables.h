// Tables for characters.cpp. character_tables.cpp says what they hold.
#pragma once

#include <array>
#include <cstdint>

namespace invar::jinja {

struct CaseExpansion {
    char32_t code_point;
    std::array<char32_t, 3> becomes;  // ends at the first zero
};

struct CodeRange {
    char32_t first, last;
};

extern const std::array<CaseExpansion, 102> kUpperExpansions;
extern const std::array<CaseExpansion, 48> kTitleExpansions;
extern const std::array<CodeRange, 20> kOtherDigits;
extern const std::array<CodeRange, 72> kOtherNumerals;
extern const std::array<CodeRange, 24> kOtherLower;
extern const std::array<CodeRange, 5> kOtherUpper;

}  // namespace invar::jinja
