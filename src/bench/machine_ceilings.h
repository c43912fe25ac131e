// What this machine can do at most, right now, with the threads in use: bytes read and int8 multiply-adds a second. The
// loops: machine/read_probe.h, machine/int8_probe.h; of a device: AcceleratorProbes.
#pragma once

#include <optional>

#include "bench/measurement.h"
#include "engine/engine.h"
#include "machine/int8_probe.h"
#include "machine/read_probe.h"

namespace invar {

Result<Ceilings> device_ceilings(AcceleratorProbes& probes);
// Whether a device does all that a pass reads and multiplies, so that its ceilings are the pass's.
bool device_does_all(const WeightPlan& plan);

class MachineCeilings {
  public:
    // On the engine's threads. Errors: no memory for the buffer that is read.
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
