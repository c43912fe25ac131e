// Formats words and numbers for the page (html_report.h). Every string that came from a file or from the system goes
// through escaped(), which is the only way from a string to the page's markup.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace invar {

// Makes a text safe as content and within double quotes of an attribute. Control characters and bytes that are not
// UTF-8 show as \xNN. A text longer than `most_bytes` is cut, because a file may contain a name of a gigabyte.
std::string escaped(std::string_view text, size_t most_bytes = 400);

std::string scientific(double value);       // "2.1e-3", "0", "not a number", "infinite"
std::string scientific_html(double value);  // 2.1 × 10<sup>−3</sup>, for prose and tables
std::string percent(double share);          // of a share of 1: "99.43 %"; "100 %" only if nothing is missing
std::string mebibytes(int64_t bytes);       // "4.19 MiB", "17,697 MiB"
std::string decade_svg(int exponent);       // 10 with a raised exponent, as SVG text
std::string plural(int64_t count, std::string_view one, std::string_view many);  // "1 path", "1,209 paths"

// A word that a shell takes as a file name, quoted if necessary. It is not escaped for the page.
std::string shell_word(std::string_view text);

}  // namespace invar
