// Lists every tensor of a model directory of a shape, in one dialect, and the modules that stay unquantised. The names
// and shapes are those that the shape's architecture declares. The order is that of the model. synth_directory.cpp
// makes the bytes and cuts the files.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "make/shape_document.h"
#include "make/synth_scheme.h"
#include "models/architecture.h"

namespace invar {

class SynthPools {
  public:
    explicit SynthPools(uint64_t seed) : seed_(seed) {}
    const SynthPool& of(PoolKind kind) { return pools_.try_emplace(kind, kind, seed_).first->second; }

  private:
    uint64_t seed_;
    std::map<PoolKind, SynthPool> pools_;
};

// The weights that the architecture wants for a shape's config, under Hugging Face's names.
struct DeclaredShape {
    const Architecture* architecture;
    ModelConfig config;
    std::vector<WantedWeight> wanted;
};
// Errors are those of the architecture's reader.
Result<DeclaredShape> declare_shape(const ShapeDocument& shape);

// Whether the numbers of a vector are drawn like weights, or are factors, which differ from each other and from 1, so
// that leaving one out shows. Other vectors are ones, or what their law makes ones of.
bool is_drawn(std::string_view role);
bool is_factor(std::string_view role);
// Number `i` of a vector of factors around 1.
float synth_factor(uint64_t stream, uint64_t i);

struct SynthModel {
    DirectoryFormat format;  // as this model has it
    std::vector<SynthDirectoryTensor> tensors;
    std::vector<SynthLinear> quantized;
    std::vector<std::string> ignore;  // modules that stay unquantised, as the dialect lists them
};

// Errors: a format that no model of this architecture has, or whose groups do not divide a row.
Result<SynthModel> synth_model(const ShapeDocument& shape, const DirectoryFormat& format, uint64_t seed);

}  // namespace invar
