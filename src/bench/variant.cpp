#include "bench/variant.h"

#include "engine/engine_settings.h"

namespace invar {

Result<std::unique_ptr<Variant>> Variant::create(Engine& engine, const EngineSettings& settings) {
    std::unique_ptr<Variant> variant(new Variant);
    // This plan only serves to find the scratch memory, which depends on threads and kernels.
    TRY_ASSIGN(const PlannedModel planned, plan_model(engine.checkpoint(), settings));
    variant->machine_ = planned.machine;
    if (engine.machine().isa == Isa::scalar && planned.machine.isa != Isa::scalar) {
        return fail(
            "the model was loaded for --isa scalar, whose form of the weights no kernel of {} reads; open it without "
            "--isa and compare with isa=scalar",
            isa_name(planned.machine.isa));
    }
    if (engine.device() != nullptr)
        return fail("the kernels of the CPU cannot read weights on a device; compare them with --device cpu");
    TRY_ASSIGN(variant->threads_, ThreadPool::create({.threads = planned.machine.threads}));
    TRY_ASSIGN(variant->ops_, CpuOps::create({.pool = *variant->threads_,
                                              .highest = planned.machine.isa,
                                              .forced_linear = settings.kernel,
                                              .scratch_bytes = planned.plan.reserve("scratch", Place::host)->bytes,
                                              .measuring = false}));
    return variant;
}

}  // namespace invar
