// The hyper-parameters of a checkpoint by our own words for them, whichever way its dialect spells them: which word is
// which key is one table for each dialect (hyperparameters.cpp). It reads numbers and refuses those out of range; what
// an architecture needs, and what follows from what, is in read_config.h.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "files/checkpoint.h"

namespace invar {

class Hyperparameters {
  public:
    // `architecture` is the prefix of GGUF's keys.
    Hyperparameters(const Checkpoint& checkpoint, std::string_view architecture)
        : checkpoint_(checkpoint), architecture_(architecture) {}

    const Checkpoint& checkpoint() const { return checkpoint_; }
    const std::string& file() const { return checkpoint_.name(); }
    // "metadata key 'llama.block_count'": how messages call the place of a word.
    std::string spell(std::string_view word) const;
    bool has(std::string_view word) const;

    // Errors: missing, of another type, out of [low, high].
    Result<int64_t> integer(std::string_view word, int64_t low, int64_t high) const;
    // A scalar for all layers, or an array with one number a layer.
    Result<std::vector<int64_t>> for_each_layer(std::string_view word, size_t layers, int64_t low, int64_t high) const;
    Result<double> positive(std::string_view word) const;
    Result<double> positive_or(std::string_view word, double otherwise) const;
    Result<std::string> text(std::string_view word) const;

  private:
    std::string gguf_key(std::string_view word) const;

    const Checkpoint& checkpoint_;
    std::string architecture_;
};

}  // namespace invar
