// Words and numbers as the page writes them (html_report.h). Whatever came out of a file or a system goes through
// escaped(): the page holds no other path from a string to its markup.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace invar {

// Safe as text and within double quotes of an attribute. Control characters and bytes that are not UTF-8 show as \xNN;
// a text longer than `most_bytes` is cut, because a file may carry a name of a gigabyte.
std::string escaped(std::string_view text, size_t most_bytes = 400);

std::string scientific(double value);       // "2.1e-3", "0", "not a number", "infinite"
std::string scientific_html(double value);  // 2.1 × 10<sup>−3</sup>, for prose and tables
std::string percent(double share);          // of 1: "99.43 %"; "100 %" only where nothing is missing
std::string mebibytes(int64_t bytes);       // "4.19 MiB", "17,697 MiB"
std::string decade_svg(int exponent);       // 10 with a raised exponent, within an SVG text
std::string plural(int64_t count, std::string_view one, std::string_view many);  // "1 path", "1,209 paths"

// A word that a shell takes for a file name: quoted where it must be. Not escaped for the page.
std::string shell_word(std::string_view text);

}  // namespace invar
