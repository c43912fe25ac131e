// The floor operations, the true division of large integers and the shortest float text follow CPython's definitions.
#include "jinja/numbers.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>

#include "jinja/characters.h"

namespace invar::jinja {

namespace {

// left / right, correctly rounded: integers beyond 2^53 are not rounded before the division.
double divide_integers(int64_t left, int64_t right) {
    constexpr int64_t kExact = int64_t{1} << 53;  // up to here every integer is a float
    if (left == 0 || (left <= kExact && left >= -kExact && right <= kExact && right >= -kExact))
        return static_cast<double>(left) / static_cast<double>(right);
    const auto magnitude = [](int64_t x) { return x < 0 ? 0 - static_cast<uint64_t>(x) : static_cast<uint64_t>(x); };
    const int shift = std::countl_zero(magnitude(left));
    const unsigned __int128 scaled = static_cast<unsigned __int128>(magnitude(left) << shift) << 63;
    unsigned __int128 quotient = scaled / magnitude(right);
    uint64_t sticky = scaled % magnitude(right) != 0;
    int exponent = -(shift + 63);
    while (quotient >> 64 != 0) {
        sticky |= static_cast<uint64_t>(quotient & 1);
        quotient >>= 1;
        ++exponent;
    }
    // The quotient in 64 bits, with the lost bits folded into the last one, so that the one rounding to 53 bits is
    // right.
    const double result = std::ldexp(static_cast<double>(static_cast<uint64_t>(quotient) | sticky), exponent);
    return (left < 0) != (right < 0) ? -result : result;
}

Result<Value> integer_power(int64_t base, int64_t exponent) {
    if (exponent < 0) {
        if (base == 0) return fail("0 cannot be raised to a negative power");
        return Value::real(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
    }
    int64_t result = 1;
    int64_t square = base;
    bool square_overflowed = false;
    for (int64_t left = exponent; left > 0; left >>= 1) {
        if ((left & 1) != 0 && (square_overflowed || __builtin_mul_overflow(result, square, &result)))
            return fail("{} ** {} does not fit into 64 bits", base, exponent);
        square_overflowed = square_overflowed || __builtin_mul_overflow(square, square, &square);
    }
    return Value::integer(result);
}

Result<Value> integer_arithmetic(Operation operation, int64_t left, int64_t right) {
    int64_t result = 0;
    bool overflow = false;
    switch (operation) {
        case Operation::kAdd:
            overflow = __builtin_add_overflow(left, right, &result);
            break;
        case Operation::kSubtract:
            overflow = __builtin_sub_overflow(left, right, &result);
            break;
        case Operation::kMultiply:
            overflow = __builtin_mul_overflow(left, right, &result);
            break;
        case Operation::kDivide:
            if (right == 0) return fail("division by zero");
            return Value::real(divide_integers(left, right));
        case Operation::kPower:
            return integer_power(left, right);
        default:
            if (right == 0) return fail("division by zero");
            if (right == -1) {
                if (operation == Operation::kModulo) return Value::integer(0);
                overflow = __builtin_sub_overflow(int64_t{0}, left, &result);
                break;
            }
            const int64_t remainder = left % right;
            const bool adjust = remainder != 0 && (remainder < 0) != (right < 0);
            if (operation == Operation::kModulo) return Value::integer(adjust ? remainder + right : remainder);
            return Value::integer(left / right - (adjust ? 1 : 0));
    }
    if (overflow) return fail("the result of integer arithmetic on {} and {} does not fit into 64 bits", left, right);
    return Value::integer(result);
}

Result<Value> real_power(double base, double exponent) {
    if (base == 0 && exponent < 0) return fail("0 cannot be raised to a negative power");
    if (base < 0 && std::isfinite(base) && std::isfinite(exponent) && exponent != std::floor(exponent))
        return fail("a negative number to a fractional power is complex, which is not supported");
    const double result = std::pow(base, exponent);
    if (std::isinf(result) && std::isfinite(base) && std::isfinite(exponent))
        return fail("the result of {} ** {} is out of range", float_text(base), float_text(exponent));
    return Value::real(result);
}

Result<Value> real_arithmetic(Operation operation, double left, double right) {
    switch (operation) {
        case Operation::kAdd:
            return Value::real(left + right);
        case Operation::kSubtract:
            return Value::real(left - right);
        case Operation::kMultiply:
            return Value::real(left * right);
        case Operation::kPower:
            return real_power(left, right);
        default:
            break;
    }
    if (right == 0) return fail("division by zero");
    if (operation == Operation::kDivide) return Value::real(left / right);
    double remainder = std::fmod(left, right);
    double quotient = (left - remainder) / right;
    if (remainder != 0) {
        if ((right < 0) != (remainder < 0)) remainder += right, quotient -= 1;
    } else {
        remainder = std::copysign(0.0, right);
    }
    if (operation == Operation::kModulo) return Value::real(remainder);
    if (quotient == 0) return Value::real(std::copysign(0.0, left / right));
    const double floor = std::floor(quotient);
    return Value::real(quotient - floor > 0.5 ? floor + 1 : floor);
}

}  // namespace

double to_real(const Value& number) {
    return number.is(Kind::kFloat) ? number.as_real() : static_cast<double>(number.as_integer());
}

Result<Value> arithmetic(Operation operation, const Value& left, const Value& right) {
    if (left.is_integral() && right.is_integral())
        return integer_arithmetic(operation, left.as_integer(), right.as_integer());
    return real_arithmetic(operation, to_real(left), to_real(right));
}

Result<Value> negated(const Value& number) {
    if (number.is(Kind::kFloat)) return Value::real(-number.as_real());
    return integer_arithmetic(Operation::kSubtract, 0, number.as_integer());
}

std::string float_text(double value) {
    if (std::isnan(value)) return "nan";
    if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
    char shortest[40];
    const auto end = std::to_chars(std::begin(shortest), std::end(shortest), value, std::chars_format::scientific).ptr;
    const std::string_view text(shortest, static_cast<size_t>(end - shortest));
    const size_t e = text.find('e');
    int exponent = 0;
    std::from_chars(text.data() + e + (text[e + 1] == '+' ? 2 : 1), end, exponent);
    std::string sign, digits;
    for (const char c : text.substr(0, e)) {
        if (c == '-') {
            sign = "-";
        } else if (c != '.') {
            digits.push_back(c);
        }
    }
    const int count = static_cast<int>(digits.size());
    if (exponent < -4 || exponent >= 16) {
        if (count > 1) digits.insert(1, ".");
        return fmt::format("{}{}e{}{:02}", sign, digits, exponent < 0 ? '-' : '+', std::abs(exponent));
    }
    if (exponent < 0) return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
    if (count <= exponent + 1)
        return sign + digits + std::string(static_cast<size_t>(exponent + 1 - count), '0') + ".0";
    return sign + digits.substr(0, static_cast<size_t>(exponent) + 1) + "." +
           digits.substr(static_cast<size_t>(exponent) + 1);
}

std::string float_text(double magnitude, char type, int precision) {
    const char kind = static_cast<char>(type | 0x20);
    std::string text;
    if (!std::isfinite(magnitude)) {
        text = std::isnan(magnitude) ? "nan" : "inf";
    } else {
        const auto format = kind == 'e'   ? std::chars_format::scientific
                            : kind == 'f' ? std::chars_format::fixed
                                          : std::chars_format::general;
        text.resize(static_cast<size_t>(precision) + 330);  // 309 digits before the point, and room for an exponent
        text.resize(static_cast<size_t>(
            std::to_chars(text.data(), text.data() + text.size(), magnitude, format, precision).ptr - text.data()));
    }
    if (type != kind)
        std::transform(text.begin(), text.end(), text.begin(), [](char c) { return c >= 'a' ? c - 32 : c; });
    return text;
}

namespace {

// Removes surrounding white space and single underscores between digits; nullopt if an underscore is misplaced.
std::optional<std::string> digits_of(std::string_view text) {
    text = strip_right(strip_left(text));
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '_') {
            out.push_back(text[i]);
        } else if (i == 0 || i + 1 == text.size() || !std::isalnum(static_cast<unsigned char>(text[i - 1])) ||
                   !std::isalnum(static_cast<unsigned char>(text[i + 1]))) {
            return std::nullopt;
        }
    }
    return out;
}

}  // namespace

Result<std::optional<int64_t>> parse_integer(std::string_view text, int base) {
    const auto digits = digits_of(text);
    if (!digits) return std::optional<int64_t>();
    std::string_view rest = *digits;
    const bool is_negative = !rest.empty() && rest[0] == '-';
    if (!rest.empty() && (rest[0] == '-' || rest[0] == '+')) rest.remove_prefix(1);
    if (rest.size() > 2 && rest[0] == '0') {
        const char letter = static_cast<char>(rest[1] | 0x20);
        const int prefix = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
        if (prefix != 0 && (base == prefix || base == 0)) {
            base = prefix;
            rest.remove_prefix(2);
        }
    }
    if (base == 0) {
        if (rest.size() > 1 && rest[0] == '0' && rest.find_first_not_of('0') != std::string_view::npos)
            return std::optional<int64_t>();
        base = 10;
    }
    if (base < 2 || base > 36 || rest.empty() || !std::isalnum(static_cast<unsigned char>(rest[0])))
        return std::optional<int64_t>();
    const std::string number = (is_negative ? "-" : "") + std::string(rest);
    int64_t value = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value, base);
    if (end != number.data() + number.size()) return std::optional<int64_t>();
    if (error == std::errc::result_out_of_range) return fail("the integer {} does not fit into 64 bits", number);
    if (error != std::errc()) return std::optional<int64_t>();
    return std::optional<int64_t>(value);
}

std::optional<double> parse_real(std::string_view text) {
    const auto digits = digits_of(text);
    if (!digits) return std::nullopt;
    std::string_view rest = *digits;
    const bool is_negative = !rest.empty() && rest[0] == '-';
    if (!rest.empty() && (rest[0] == '-' || rest[0] == '+')) rest.remove_prefix(1);
    const std::string lowered = lower(rest);
    double value = 0;
    if (lowered == "inf" || lowered == "infinity") {
        value = INFINITY;
    } else if (lowered == "nan") {
        value = NAN;
    } else {
        if (rest.empty() || !(std::isdigit(static_cast<unsigned char>(rest[0])) || rest[0] == '.')) return std::nullopt;
        const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
        if (end != rest.data() + rest.size()) return std::nullopt;
        if (error == std::errc::result_out_of_range) {
            // Out of range: too small (a negative exponent, or a leading zero) is 0, too large is infinite.
            value = rest.find("e-") != std::string_view::npos || rest.find("E-") != std::string_view::npos ||
                            (rest[0] == '0' || rest[0] == '.')
                        ? 0.0
                        : INFINITY;
        } else if (error != std::errc()) {
            return std::nullopt;
        }
    }
    return is_negative ? -value : value;
}

Result<int64_t> truncated(double value) {
    if (std::isnan(value)) return fail("nan cannot be made an integer");
    const double whole = std::trunc(value);
    if (!(whole >= -0x1p63 && whole < 0x1p63))
        return fail("{} does not fit into an integer of 64 bits", float_text(value));
    return static_cast<int64_t>(whole);
}

double rounded(double value, int digits) {
    if (!std::isfinite(value) || value == 0 || digits > 330) return value;
    if (digits < -310) return std::copysign(0.0, value);
    if (digits >= 0) {
        const std::string text = float_text(std::abs(value), 'f', digits);
        double result = 0;
        std::from_chars(text.data(), text.data() + text.size(), result);
        return std::copysign(result, value);
    }
    // To round left of the point, the exact decimal expansion is rounded by hand (a float above 1 has at most 52 binary
    // places).
    std::string text = float_text(std::abs(value), 'f', 60);
    const size_t point = text.find('.');
    const size_t dropped = static_cast<size_t>(-digits);
    if (dropped > point) return std::copysign(0.0, value);
    const size_t kept = point - dropped;
    text.erase(point, 1);
    const bool above_half =
        text[kept] > '5' || (text[kept] == '5' && text.find_first_not_of('0', kept + 1) != std::string::npos);
    const bool is_odd = kept > 0 && (text[kept - 1] - '0') % 2 == 1;
    const bool up = above_half || (text[kept] == '5' && is_odd);
    double result = 0;
    std::string whole = (kept == 0 ? "0" : text.substr(0, kept)) + std::string(dropped, '0');
    std::from_chars(whole.data(), whole.data() + whole.size(), result);
    if (up) {
        const std::string unit = "1" + std::string(dropped, '0');
        double step = 0;
        std::from_chars(unit.data(), unit.data() + unit.size(), step);
        result += step;
    }
    return std::copysign(result, value);
}

Result<int64_t> rounded(int64_t value, int digits) {
    if (digits >= 0) return value;
    if (digits < -18) return 0;
    int64_t unit = 1;
    for (int i = 0; i < -digits; ++i) unit *= 10;
    const __int128 wide = value;
    __int128 floor = wide / unit - (wide % unit < 0 ? 1 : 0);
    const __int128 above = 2 * (wide - floor * unit);
    if (above > unit || (above == unit && floor % 2 != 0)) ++floor;
    const __int128 result = floor * unit;
    if (result > INT64_MAX || result < INT64_MIN) return fail("{} rounded does not fit into 64 bits", value);
    return static_cast<int64_t>(result);
}

}  // namespace invar::jinja
