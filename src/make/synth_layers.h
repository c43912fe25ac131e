// Lists every tensor of a model of a shape, under the names that transformers uses, in one dialect, and the modules
// that stay unquantised. The order is that of the model. synth_directory.cpp makes the bytes and cuts the files.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "make/synth.h"
#include "make/synth_scheme.h"

namespace invar {

class SynthPools {
  public:
    explicit SynthPools(uint64_t seed) : seed_(seed) {}
    const SynthPool& of(PoolKind kind) { return pools_.try_emplace(kind, kind, seed_).first->second; }

  private:
    uint64_t seed_;
    std::map<PoolKind, SynthPool> pools_;
};

struct SynthModel {
    std::vector<SynthDirectoryTensor> tensors;
    std::vector<SynthLinear> quantized;
    std::vector<std::string> ignore;  // modules that stay unquantised, as the dialect lists them
};

SynthModel synth_model(const SynthShape& shape, int layers, const DirectoryFormat& format, uint64_t seed,
                       SynthPools& pools);

}  // namespace invar
