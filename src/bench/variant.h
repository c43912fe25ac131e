// The same loaded weights computed another way: other threads, another instruction set, another forced kernel. One
// engine and its weights serve both sides of `bench --compare`, so that a comparison needs no second copy of a model.
#pragma once

#include <memory>

#include "engine/engine.h"

namespace invar {

class Variant {
  public:
    // `settings`: those the engine was opened with, but for threads, isa and kernel. Errors: this machine lacks what
    // they ask for; the engine's weights lie in a form that its kernels do not read.
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
