// What each verb means in float64, a row at a time: plain sums and the C library's functions, written from the
// mathematics and not from src/arithmetic. Weights are what Format::decode gives, widened (a real number rounded at
// most once to binary32, docs/formats.md); activations are never quantised. Float64Ops (float64_ops.h) runs whole
// passes of it, float64_verb.h single calls. Every result is a function of its row alone: batches change no bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "machine/function_ref.h"
#include "ops/ops.h"

namespace invar::float64 {

// Decodes rows of matrices in any stored form; keeps the memory that takes.
class RowDecoder {
  public:
    // out: [matrix.columns], without the tensor scale.
    void decode(const WeightMatrix& matrix, int64_t row, double* out);

  private:
    std::vector<std::byte> stored_;
    std::vector<float> decoded_;
};

// What products with quantised weights read.
enum class Activations : uint8_t {
    exact,
    quantised,  // rounded to 8 bits as the arithmetic asks: tells that share of the distance from all else
};
// d * q of every value, as quantised products see it. `columns` is a multiple of 32.
std::vector<double> quantised(const double* x, int64_t columns);

// Room for the products of one thread.
struct ProductRoom {
    RowDecoder decoder;
    std::vector<double> weights;  // [kProductRows, columns]
};
// Weight rows decoded at once: 8 x 4096 doubles stay in a second-level cache while all tokens pass by.
inline constexpr int64_t kProductRows = 8;

// y[t][r] = scale * (row r of the matrix . x[t]) for the weight rows first .. first + count - 1; x[t] has
// matrix.columns elements, y[t] matrix.rows.
struct Products {
    const WeightMatrix& matrix;
    int64_t first = 0, count = 0;
    std::span<const double* const> x;
    std::span<double* const> y;
};
void multiply(const Products& products, ProductRoom& room);

// out = row `row` of an embedding table, with its tensor scale.
void embed(const WeightMatrix& table, int64_t row, RowDecoder& decoder, double* out);
// One group of weight.size elements. y may be x.
void rms_norm(const double* x, const WeightVector& weight, double epsilon, double* y);
double silu(double x);

// Angles from the specification: the frequencies of Su et al. 2021 with linear, YaRN (Peng et al. 2023) or per-pair
// scaling.
class Rope {
  public:
    explicit Rope(const RopeSpec& spec);
    // Turns every head of a row of `width` elements, at a position.
    void turn(int64_t position, double* row, int64_t width) const;

  private:
    RopeSpec spec_;
    std::vector<double> frequencies_;  // radians a position
    double attention_factor_ = 1;
};

// The positions a query at `position` sees are first .. position.
int64_t first_visible(int64_t position, int window);

struct AttentionHead {
    int64_t key_width = 0, value_width = 0;
    double scale = 0, softcap = 0;
    int64_t first = 0, last = 0;  // positions, the last included
};
// The scale that is meant: 1 / sqrt(key_width) where `given` is that number rounded to binary32, else `given`.
double meant_scale(float given, int64_t key_width);
// A key or value row of the cache, used before the next call.
using RowAt = FunctionRef<const double*(int64_t position)>;
// scores: [last - first + 1], scaled and capped, before the softmax.
void attention_scores(const AttentionHead& head, const double* query, RowAt key_at, std::vector<double>& scores);
// out: [value_width]
void attend(const AttentionHead& head, const double* query, RowAt key_at, RowAt value_at, std::vector<double>& scores,
            double* out);

struct Routing {
    std::vector<double> probabilities;  // [experts]
    std::vector<int32_t> experts;       // the chosen, by (probability descending, index ascending)
    std::vector<double> weights;        // of the chosen, after renormalisation
    double margin = 0;  // probability of the last chosen less that of the best one left out (0 where none is)
};
Routing route(const double* logits, int64_t experts, const RouteSpec& spec);

}  // namespace invar::float64
