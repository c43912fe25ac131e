#include "bench/machine_ceilings.h"

#include <algorithm>

#include "cpu/linear.h"

namespace invar {

Result<Ceilings> device_ceilings(AcceleratorProbes& probes) {
    TRY_ASSIGN(const AcceleratorCeilings measured, probes.measure());
    return Ceilings{.read_gigabytes = measured.read_gigabytes,
                    .int8_multiply_adds = measured.int8_multiply_adds,
                    .copy_gigabytes = measured.copy_gigabytes};
}

bool device_does_all(const WeightPlan& plan) {
    const auto there = [](const PlanEntry& entry) { return entry.place == Place::device; };
    return !plan.device.empty() && std::all_of(plan.entries.begin(), plan.entries.end(), there);
}

Result<MachineCeilings> MachineCeilings::create(Engine& engine, std::string_view forced_kernel) {
    TRY_ASSIGN(ReadProbe read, ReadProbe::create(engine.threads()));
    const LinearKernel* const forced = find_linear_kernel(forced_kernel);
    const Isa of_forced = forced == nullptr ? Isa::scalar : forced->isa;
    return MachineCeilings(std::move(read), choose_int8_probe(engine.machine().isa, of_forced), engine.threads());
}

Ceilings MachineCeilings::measure() {
    return {.read_gigabytes = read_.gigabytes_per_second(),
            .int8_multiply_adds = int8_giga_multiply_adds_per_second(*int8_, *threads_)};
}

}  // namespace invar
