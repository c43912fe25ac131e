// Measures what this machine can do at most, now and with the threads in use: bytes read and int8 multiply-adds per
// second. The loops are in machine/read_probe.h and machine/int8_probe.h; for a device, AcceleratorProbes has them.
#pragma once

#include <optional>

#include "bench/measurement.h"
#include "engine/engine.h"
#include "machine/int8_probe.h"
#include "machine/read_probe.h"

namespace invar {

Result<Ceilings> device_ceilings(AcceleratorProbes& probes);
// Whether a device reads and multiplies everything in a pass, so that its ceilings apply to the pass.
bool device_does_all(const WeightPlan& plan);

class MachineCeilings {
  public:
    // Uses the engine's threads. Errors: there is no memory for the buffer that is read.
    static Result<MachineCeilings> create(Engine& engine, std::string_view forced_kernel);

    Ceilings measure();
    std::string_view int8_instruction() const { return int8_->name; }

  private:
    MachineCeilings(ReadProbe read, const Int8Probe& int8, ThreadPool& threads)
        : read_(std::move(read)), int8_(&int8), threads_(&threads) {}

    ReadProbe read_;
    const Int8Probe* int8_;
    ThreadPool* threads_;
};

}  // namespace invar
