// binary64 sin, cos, exp, log, pow: against 60-digit values (tests/data/arithmetic/binary64.txt, by mpmath) and, in
// number, against the C library's long double.
#include "arithmetic/trigonometry.h"

#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <vector>

namespace invar {
namespace {

double ulp_of(double value) { return std::nextafter(std::fabs(value), INFINITY) - std::fabs(value); }

double evaluate(const std::string& name, const std::vector<double>& arguments) {
    if (name == "sin") return law::sin64(arguments[0]);
    if (name == "cos") return law::cos64(arguments[0]);
    if (name == "exp") return law::exp64(arguments[0]);
    if (name == "log") return law::log64(arguments[0]);
    return law::pow64(arguments[0], arguments[1]);
}

TEST(Trigonometry, StaysWithinAnUlpOfSixtyDigitValues) {
    std::ifstream file(INVAR_TEST_DATA "/arithmetic/binary64.txt");
    std::map<std::string, double> largest;
    int compared = 0;
    for (std::string line; std::getline(file, line); ++compared) {
        std::istringstream words(line);
        std::string name;
        words >> name;
        std::vector<double> numbers;
        for (std::string word; words >> word;) numbers.push_back(std::strtod(word.c_str(), nullptr));
        const double low = numbers.back();
        numbers.pop_back();
        const double high = numbers.back();
        numbers.pop_back();
        const double error = std::fabs((evaluate(name, numbers) - high) - low) / ulp_of(high);
        largest[name] = std::max(largest[name], error);
        EXPECT_LE(error, 0.8) << line;
    }
    for (const auto& [name, error] : largest)
        std::printf("[accuracy] %s64: largest error %.3f ulp\n", name.c_str(), error);
    std::printf("[accuracy] %d values compared\n", compared);
    EXPECT_EQ(largest.size(), 5u);
    EXPECT_GT(compared, 1000);
}

TEST(Trigonometry, AgreesWithLongDouble) {
    if (LDBL_MANT_DIG < 64) GTEST_SKIP() << "long double is binary64 here";
    std::mt19937_64 random(20261120);
    std::uniform_real_distribution<double> unit(0, 1);
    double sin_error = 0, cos_error = 0, exp_error = 0, log_error = 0, pow_error = 0;
    constexpr int kCount = 400000;
    for (int i = 0; i < kCount; ++i) {
        // Angles as a table has them: a position times a frequency, up to 2^20 radians.
        const double angle = std::floor(unit(random) * 0x1p20) * std::exp2(-20 * unit(random));
        sin_error = std::max(
            sin_error, std::fabs(double(law::sin64(angle) - std::sin((long double)angle))) / ulp_of(std::sin(angle)));
        cos_error = std::max(
            cos_error, std::fabs(double(law::cos64(angle) - std::cos((long double)angle))) / ulp_of(std::cos(angle)));
        const double x = 60 * unit(random) - 30;
        exp_error =
            std::max(exp_error, std::fabs(double(law::exp64(x) - std::exp((long double)x))) / ulp_of(std::exp(x)));
        const double y = std::exp2(40 * unit(random) - 10);
        log_error =
            std::max(log_error, std::fabs(double(law::log64(y) - std::log((long double)y))) / ulp_of(std::log(y)));
        const double base = std::exp2(3 + 20 * unit(random)), exponent = -unit(random);
        const double power = double(std::pow((long double)base, (long double)exponent));
        pow_error = std::max(pow_error, std::fabs(double(law::pow64(base, exponent) -
                                                         std::pow((long double)base, (long double)exponent))) /
                                            ulp_of(power));
    }
    std::printf("[accuracy] %d values each, largest error in ulp: sin %.3f, cos %.3f, exp %.3f, log %.3f, pow %.3f\n",
                kCount, sin_error, cos_error, exp_error, log_error, pow_error);
    for (const double error : {sin_error, cos_error, exp_error, log_error, pow_error}) EXPECT_LE(error, 0.8);
}

TEST(Trigonometry, IsExactWhereTheAnswerIs) {
    EXPECT_EQ(law::sin64(0.0), 0.0);
    EXPECT_EQ(law::cos64(0.0), 1.0);
    EXPECT_EQ(law::exp64(0.0), 1.0);
    EXPECT_EQ(law::log64(1.0), 0.0);
    EXPECT_EQ(law::pow64(10000.0, 0.0), 1.0);
    EXPECT_EQ(law::sin64(-1.25), -law::sin64(1.25));
    EXPECT_EQ(law::cos64(-1.25), law::cos64(1.25));
}

}  // namespace
}  // namespace invar
