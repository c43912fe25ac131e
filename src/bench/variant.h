// Computes with the weights of an opened engine in another way: other threads, another instruction set or a forced
// kernel. Both sides of `bench --compare` use one engine, so that a comparison needs no second copy of the model.
#pragma once

#include <memory>

#include "engine/engine.h"

namespace invar {

class Variant {
  public:
    // `settings` must be those that the engine was opened with, except for threads, isa and kernel. Errors: this
    // machine lacks what they ask for; their kernels do not read the form in which the engine's weights are stored.
    static Result<std::unique_ptr<Variant>> create(Engine& engine, const EngineSettings& settings);

    CpuOps& ops() { return *ops_; }
    const ResolvedMachine& machine() const { return machine_; }

  private:
    Variant() = default;

    ResolvedMachine machine_;
    std::unique_ptr<ThreadPool> threads_;
    std::unique_ptr<CpuOps> ops_;
};

}  // namespace invar
