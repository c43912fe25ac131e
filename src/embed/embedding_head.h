// Makes a vector of the rows that a model gives for a text: pools them as they come, then takes the steps behind. All
// of it is the law (docs/arithmetic.md, section 9) on the host, so the bits are the same everywhere. Which rows are
// computed when is decided in generate/embedder.h.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "embed/embedding_config.h"
#include "ops/weight.h"

namespace invar {

// One text whose rows come in order, in pieces of any size.
class PooledRows {
  public:
    PooledRows(std::span<const Pooling> modes, int64_t width);

    void add(std::span<const float> rows);  // a multiple of the width
    int64_t count() const { return count_; }
    // The modes' results one behind the other, [modes * width]. At least one row was added.
    std::vector<float> take();

  private:
    std::span<const Pooling> modes_;
    int64_t width_, count_ = 0;
    std::vector<float> states_;
};

// The loaded weights of a dense layer, as stored.
struct DenseWeights {
    WeightMatrix matrix;
    std::optional<WeightVector> bias;
};

// y = activation(W x + b): the dot law of each row, the bias added, tanh of section 3.
std::vector<float> run_dense(const DenseWeights& weights, DenseActivation activation, std::span<const float> x);

// The first `count` elements; a vector of length 1 gets length 1 again.
void shorten(std::vector<float>& vector, int64_t count, bool unit_length);

}  // namespace invar
