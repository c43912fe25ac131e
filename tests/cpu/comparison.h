// Shared by the tests of cpu/: counting outputs whose bits differ, and hostile inputs (outliers, zeros of both signs,
// subnormals, numbers at the ends of the range).
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "machine/isa.h"

namespace invar {

// Outputs compared by their bits. Two NaN are equal whatever their payload: the law leaves it open.
class Comparison {
  public:
    void add(float expected, float actual) {
        ++compared_;
        const bool both_nan = std::isnan(expected) && std::isnan(actual);
        if (!both_nan && std::bit_cast<uint32_t>(expected) != std::bit_cast<uint32_t>(actual)) ++differ_;
    }
    void add(const float* expected, const float* actual, int64_t n) {
        for (int64_t i = 0; i < n; ++i) add(expected[i], actual[i]);
    }
    template <class T>
    void add_exact(const T* expected, const T* actual, int64_t n) {
        for (int64_t i = 0; i < n; ++i) {
            ++compared_;
            if (expected[i] != actual[i]) ++differ_;
        }
    }
    int64_t compared() const { return compared_; }
    int64_t differ() const { return differ_; }
    void print(const std::string& what) const {
        std::printf("[equality] %s: %lld outputs compared, %lld differ\n", what.c_str(),
                    static_cast<long long>(compared_), static_cast<long long>(differ_));
    }

  private:
    int64_t compared_ = 0, differ_ = 0;
};

// Counts wrong copies of a computation that a comparison noticed.
class Mutations {
  public:
    void add(const char* what, const Comparison& comparison) {
        ++total_;
        if (comparison.differ() > 0) {
            ++caught_;
        } else {
            std::printf("[mutation] not caught: %s\n", what);
        }
    }
    int caught() const { return caught_; }
    int total() const { return total_; }
    void print(const std::string& where) const {
        std::printf("[mutation] %s: %d of %d caught\n", where.c_str(), caught_, total_);
    }

  private:
    int caught_ = 0, total_ = 0;
};

enum class Inputs : uint8_t { usual, hard, extreme };

// usual: normal; hard: also outliers of 1e3, zeros of both signs and subnormals; extreme: also numbers near both ends
// of the range, whose products overflow.
inline std::vector<float> make_inputs(std::mt19937& random, int64_t n, Inputs kind = Inputs::usual) {
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<size_t>(n));
    for (float& value : values) {
        value = normal(random);
        if (kind == Inputs::usual) continue;
        switch (random() % 24) {
            case 0:
                value *= 1e3f;
                break;
            case 1:
                value = 0.0f;
                break;
            case 2:
                value = -0.0f;
                break;
            case 3:
                value *= 1e-40f;
                break;
            case 4:
                value *= 1e-20f;
                break;
            case 5:
                if (kind == Inputs::extreme) value *= 1e37f;
                break;
            case 6:
                if (kind == Inputs::extreme) value *= 1e19f;
                break;
            default:
                break;
        }
    }
    return values;
}

// The tiers this machine can run, as far as tests need them detected once.
inline const std::vector<Isa>& supported_isas() {
    static const std::vector<Isa> isas = detect_isa().all_supported();
    return isas;
}

}  // namespace invar
