// Defines each verb in float64, one row at a time, with plain sums and the functions of the C library. It is written
// from the mathematics and independent of src/arithmetic. Weights are those that Format::decode gives, widened (a real
// number rounded at most once to binary32, docs/formats.md). Activations are never quantised. Float64Ops
// (float64_ops.h) runs whole passes with it, float64_verb.h single calls. Every result depends on its row alone, so
// batches change no bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "arithmetic/attention.h"
#include "machine/function_ref.h"
#include "ops/ops.h"

namespace invar::float64 {

// Decodes rows of matrices in any stored form and keeps the memory for it.
class RowDecoder {
  public:
    // out: [matrix.columns], not multiplied by the tensor scale.
    void decode(const WeightMatrix& matrix, int64_t row, double* out);

  private:
    std::vector<std::byte> stored_;
    std::vector<float> decoded_;
};

// The activations that products with quantised weights read.
enum class Activations : uint8_t {
    exact,
    quantized,  // rounded to 8 bits as the arithmetic requires, to measure what that alone costs
};
// d * q of every value, as products with quantised weights read it. `columns` must be a multiple of 32.
std::vector<double> quantized(const double* x, int64_t columns);

// The working memory of one thread's products.
struct ProductRoom {
    RowDecoder decoder;
    std::vector<double> weights;  // [kProductRows, columns]
};
// How many weight rows are decoded at once: 8 x 4096 doubles stay in a second-level cache while all tokens use them.
inline constexpr int64_t kProductRows = 8;

// y[t][r] = scale * (row r of the matrix . x[t]) for weight rows first .. first + count - 1. x[t] has matrix.columns
// elements, y[t] has matrix.rows.
struct Products {
    const WeightMatrix& matrix;
    int64_t first = 0, count = 0;
    std::span<const double* const> x;
    std::span<double* const> y;
};
void multiply(const Products& products, ProductRoom& room);

// out = row `row` of an embedding table, multiplied by its tensor scale.
void embed(const WeightMatrix& table, int64_t row, RowDecoder& decoder, double* out);
// Normalise one group of elements. y may be x; weight and bias may be nullptr.
void rms_norm(const double* x, const float* weight, int64_t group, double epsilon, double* y);
void l2_norm(const double* x, int64_t group, double epsilon, double* y);
void layer_norm(const double* x, const float* weight, const float* bias, int64_t group, double epsilon, double* y);
double sigmoid(double x);
double softplus(double x);
// up: nullptr for an activation of one operand
double activate(const ActivationSpec& spec, double x, const double* up);
double position_scale(const PositionScale& spec, int64_t position);

// Rotary angles from their definition: the frequencies of Su et al. 2021 with linear, YaRN (Peng et al. 2023) or
// per-pair scaling.
class Rope {
  public:
    explicit Rope(const RopeSpec& spec);
    // Rotates every head of a row of `width` elements, as at `position`.
    void turn(int64_t position, double* row, int64_t width) const;

  private:
    RopeSpec spec_;
    std::vector<double> frequencies_;  // radians per position
    double attention_factor_ = 1;
};

struct AttentionHead {
    int64_t key_width = 0, value_width = 0;
    double scale = 0, softcap = 0;
    VisiblePositions visible;
    const float* sink = nullptr;  // a logit without a value, if there is one
};
// The exact scale: 1 / sqrt(key_width) if `given` is that number rounded to binary32, otherwise `given`.
double meant_scale(float given, int64_t key_width);
// Gives a key or value row of the cache, which is used before the next call.
using RowAt = FunctionRef<const double*(int64_t position)>;
// scores: [visible positions], scaled and capped, before the softmax.
void attention_scores(const AttentionHead& head, const double* query, RowAt key_at, std::vector<double>& scores);
// out: [value_width]
void attend(const AttentionHead& head, const double* query, RowAt key_at, RowAt value_at, std::vector<double>& scores,
            double* out);

struct Routing {
    std::vector<double> probabilities;  // [experts], or the scores that stand for them (RouteSpec::Scoring)
    std::vector<int32_t> experts;       // the chosen experts, by (rank descending, index ascending)
    std::vector<double> weights;        // of the chosen experts, as the model uses them
    double margin = 0;                  // rank of the last chosen minus the best not chosen; its own if there is none
};
// bias and factors: [experts], or nullptr.
Routing route(const double* logits, int64_t experts, const RouteSpec& spec, const float* bias, const float* factors);

}  // namespace invar::float64
