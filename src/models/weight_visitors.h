// The two visitors of a list of weights (decoder_weights.h): one declares them to the checkpoint, one fills them from a
// source. A family with weights beyond those of every decoder visits its own behind them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/decoder_weights.h"
#include "models/tensor_names.h"

namespace invar {

// Lists what is visited as wanted weights, under the names of the checkpoint's dialect.
class Declaration {
  public:
    explicit Declaration(const Checkpoint& checkpoint);

    void layer(int index) { layer_ = index; }
    void vector(const WeightVector&, WeightNames names, int64_t size, const VectorOptions& options);
    void vector(const std::optional<WeightVector>&, WeightNames names, int64_t size, const VectorOptions& options);
    void matrix(const WeightMatrix&, WeightNames names, int64_t rows, int64_t columns, const MatrixOptions& options);
    void stack(const WeightStack&, WeightNames names, std::vector<int64_t> shape, const MatrixOptions& options);

    std::vector<WantedWeight> take() { return std::move(wanted_); }

  private:
    Dialect dialect() const { return checkpoint_.dialect(); }
    bool is_tied() const;
    std::string tensor_name(WeightNames names, bool head = false) const;
    HeldAs held_as(const HeldAs& gguf, const HeldAs& hugging_face) const;
    TensorChoice choice(std::string tensor, HeldAs as) const;
    WantedWeight& add(WeightNames names, WeightShape kind, std::vector<int64_t> shape);
    void add_others(std::vector<TensorChoice>& choices, WeightNames names,
                    const std::vector<OtherTensor>& others) const;
    void add_choices(WantedWeight& weight, WeightNames names, const MatrixOptions& options);

    const Checkpoint& checkpoint_;
    TensorNames names_;
    bool tied_ = false;
    int layer_ = -1;
    std::vector<WantedWeight> wanted_;
};

// Fills what is visited from a source.
class Filling {
  public:
    explicit Filling(const WeightSource& source) : source_(source) {}

    void layer(int index) { layer_ = index; }
    void vector(WeightVector& weight, WeightNames names, int64_t, const VectorOptions&) {
        weight = source_.vector({layer_, names.role});
    }
    void vector(std::optional<WeightVector>& weight, WeightNames names, int64_t, const VectorOptions&) {
        if (source_.has({layer_, names.role})) weight = source_.vector({layer_, names.role});
    }
    void matrix(WeightMatrix& weight, WeightNames names, int64_t, int64_t, const MatrixOptions&) {
        weight = source_.matrix({layer_, names.role});
    }
    void stack(WeightStack& weight, WeightNames names, const std::vector<int64_t>&, const MatrixOptions&) {
        weight = source_.stack({layer_, names.role});
    }

  private:
    const WeightSource& source_;
    int layer_ = -1;
};

}  // namespace invar
