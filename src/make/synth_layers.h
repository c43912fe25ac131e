// Every tensor of a model of a shape under the names that transformers saves it with, in one dialect, and which modules
// stay unquantised. Order: as in the model. How bytes are made and files are cut is synth_directory.cpp's.
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
    std::vector<SynthLinear> quantised;
    std::vector<std::string> ignore;  // modules that stay, as the dialect lists them
};

SynthModel synth_model(const SynthShape& shape, int layers, const DirectoryFormat& format, uint64_t seed,
                       SynthPools& pools);

}  // namespace invar
