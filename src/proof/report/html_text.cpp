#include "proof/report/html_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>

#include "files/printable.h"
#include "proof/verify/verify_report.h"

namespace invar {
namespace {

struct Decimal {
    std::string mantissa;
    int exponent = 0;
};

Decimal decimal_of(double value) {
    const std::string text = fmt::format("{:.1e}", value);
    const size_t e = text.find('e');
    return {.mantissa = text.substr(0, e), .exponent = std::atoi(text.c_str() + e + 1)};
}

// The text of zero and of numbers that are not finite, which have no exponent; "" for all others.
std::string special(double value) {
    if (std::isnan(value)) return "not a number";
    if (std::isinf(value)) return value > 0 ? "infinite" : "minus infinite";
    return value == 0 ? "0" : "";
}

}  // namespace

std::string escaped(std::string_view text, size_t most_bytes) {
    std::string safe;
    for (const char c : printable(text, most_bytes)) {
        switch (c) {
            case '&':
                safe += "&amp;";
                break;
            case '<':
                safe += "&lt;";
                break;
            case '>':
                safe += "&gt;";
                break;
            case '"':
                safe += "&quot;";
                break;
            case '\'':
                safe += "&#39;";
                break;
            default:
                safe += c;
        }
    }
    return safe;
}

std::string scientific(double value) {
    if (std::string text = special(value); !text.empty()) return text;
    const Decimal decimal = decimal_of(value);
    return fmt::format("{}e{}", decimal.mantissa, decimal.exponent);
}

std::string scientific_html(double value) {
    if (std::string text = special(value); !text.empty()) return text;
    const Decimal decimal = decimal_of(value);
    if (decimal.exponent >= -2 && decimal.exponent <= 2) {
        return fmt::format("{:.{}f}", value, std::max(0, 2 - decimal.exponent));  // three significant digits
    }
    return fmt::format("{}&nbsp;×&nbsp;10<sup>{}{}</sup>", decimal.mantissa, decimal.exponent < 0 ? "−" : "",
                       std::abs(decimal.exponent));
}

std::string percent(double share) {
    if (!std::isfinite(share)) return "–";
    if (share == 1) return "100&nbsp;%";
    // Rounds down, so that 0.99999 is not shown as 100 % and one miss in a million stays visible.
    return fmt::format("{:.2f}&nbsp;%", std::floor(share * 1e4) / 100);
}

std::string mebibytes(int64_t bytes) {
    constexpr int64_t kMiB = 1 << 20;
    if (bytes > 0 && bytes < kMiB / 100) return fmt::format("{:.4f} MiB", static_cast<double>(bytes) / kMiB);
    if (bytes < 1000 * kMiB) return fmt::format("{:.2f} MiB", static_cast<double>(bytes) / kMiB);
    return fmt::format("{} MiB", thousands((bytes + kMiB / 2) / kMiB));
}

std::string decade_svg(int exponent) {
    if (exponent == 0) return "1";
    return fmt::format("10<tspan class=\"up\" dy=\"-4\">{}{}</tspan>", exponent < 0 ? "−" : "", std::abs(exponent));
}

std::string shell_word(std::string_view text) {
    if (text.starts_with('-')) return shell_word("./" + std::string(text));  // not an option
    const auto plain = [](unsigned char c) {
        return std::isalnum(c) != 0 ||
               std::string_view("._-/+=@,:").find(static_cast<char>(c)) != std::string_view::npos;
    };
    if (!text.empty() && std::all_of(text.begin(), text.end(), plain)) return std::string(text);
    std::string quoted = "'";
    for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return quoted + "'";
}

std::string plural(int64_t count, std::string_view one, std::string_view many) {
    return fmt::format("{} {}", thousands(count), count == 1 ? one : many);
}

}  // namespace invar
