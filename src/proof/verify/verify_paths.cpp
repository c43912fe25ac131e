#include "proof/verify/verify_paths.h"

#include <algorithm>

#include "cpu/linear.h"

namespace invar {
namespace {

std::string path_name(Isa isa, int threads, FormRequest form, std::string_view kernel) {
    std::string name = fmt::format("{}, {} thread{}", isa_name(isa), threads, threads == 1 ? "" : "s");
    name += form == FormRequest::as_stored ? ", as stored" : ", repacked";
    if (!kernel.empty()) name += fmt::format(", kernel {}", kernel);
    return name;
}

std::string path_flags(Isa isa, int threads, FormRequest form, std::string_view kernel) {
    return fmt::format("--isa {} --threads {} --form {}{}", isa_name(isa), threads,
                       form == FormRequest::as_stored ? "as-stored" : "repacked",
                       kernel.empty() ? "" : fmt::format(" --kernel {}", kernel));
}

// Whether the kernel can compute a product with some weight of the plan.
bool fits_some_weight(const LinearKernel& kernel, const WeightPlan& plan) {
    return std::any_of(plan.entries.begin(), plan.entries.end(), [&](const PlanEntry& entry) {
        if (entry.kind == WeightShape::vector) return false;
        LinearProblem problem{
            .format = entry.source->id, .rows = entry.shape[entry.shape.size() - 2], .columns = entry.shape.back()};
        for (const StoredForm form : {StoredForm::as_stored, StoredForm::rows4}) {
            for (const int64_t tokens : {int64_t{1}, int64_t{8}, int64_t{64}}) {
                problem.form = form;
                problem.tokens = tokens;
                if (kernel.fits(problem)) return true;
            }
        }
        return false;
    });
}

// Adds the device's paths: the model as users get it, split models (half of the layers on the device, experts on the
// CPU), and recorded passes.
void add_device_paths(const EngineSettings& base, const WeightPlan& plan, const std::vector<Schedule>& all,
                      const std::vector<Schedule>& few, std::vector<VerifyPath>& paths) {
    const auto skip = [&](std::string reason) {
        paths.push_back({.name = "cuda", .settings = base, .schedules = {}, .skipped = std::move(reason)});
    };
    std::shared_ptr<Accelerator> device = base.device;
    if (device == nullptr) {
        if (base.open_device == nullptr) return skip("this program opens no device");
        Result<std::shared_ptr<Accelerator>> opened = base.open_device(0);
        if (!opened) return skip(opened.error().message);
        device = std::move(*opened);
    }
    const Result<AcceleratorFacts> facts = device->facts();
    if (!facts) return skip(facts.error().message);
    const auto add = [&](std::string_view what, std::optional<int64_t> layers, ExpertPlace experts,
                         const std::vector<Schedule>& with) {
        VerifyPath path{.name = fmt::format("cuda{}", what), .settings = base, .schedules = with};
        path.settings.device = device;
        path.settings.gpu_layers = layers;
        path.settings.experts = experts;
        path.flags = fmt::format("--device cuda{}{}{}", facts->index == 0 ? "" : fmt::format(":{}", facts->index),
                                 layers ? fmt::format(" --gpu-layers {}", *layers) : "",
                                 experts == ExpertPlace::host ? " --cpu-experts" : "");
        paths.push_back(std::move(path));
    };
    const auto layers = static_cast<int64_t>(plan.layer_places.size());
    add("", std::nullopt, ExpertPlace::with_their_layer, all);
    if (layers > 1) add(", half of the layers", layers / 2, ExpertPlace::with_their_layer, few);
    const bool mixture = std::any_of(plan.entries.begin(), plan.entries.end(),
                                     [](const PlanEntry& entry) { return entry.kind == WeightShape::stack; });
    if (mixture) add(", experts on the CPU", std::nullopt, ExpertPlace::host, few);
    add(", recorded passes", std::nullopt, ExpertPlace::with_their_layer, {});
    paths.back().looks = PathLooks::at_recorded_passes;
}

}  // namespace

std::vector<VerifyPath> verify_paths(const EngineSettings& given, const WeightPlan& plan) {
    EngineSettings base = given;
    base.device = nullptr;
    const IsaSupport support = detect_isa();
    const Isa highest = base.isa.value_or(support.highest());
    // Two threads even on a single processor, because it is the division of the work that is verified.
    const int many = std::max(2, base.threads > 0 ? base.threads : available_cpus());
    const std::vector<Schedule> all = schedules();
    const std::vector<Schedule> few = {all[0], all[1], all[2]};
    std::vector<VerifyPath> paths;
    const auto add = [&](Isa isa, int threads, FormRequest form, std::string_view kernel,
                         const std::vector<Schedule>& with) {
        VerifyPath path{.name = path_name(isa, threads, form, kernel), .settings = base, .schedules = with};
        path.flags = path_flags(isa, threads, form, kernel);
        path.settings.isa = isa;
        path.settings.threads = threads;
        path.settings.form = form;
        path.settings.kernel = kernel;
        if (!support.has(isa)) {
            path.skipped = support.missing[static_cast<size_t>(isa)];
        } else if (isa > highest) {
            path.skipped = fmt::format("--isa allows {} at most", isa_name(highest));
        }
        paths.push_back(std::move(path));
    };
    add(Isa::scalar, 1, FormRequest::as_stored, "", all);
    add(Isa::scalar, many, FormRequest::as_stored, "", all);
    add(Isa::scalar, many, FormRequest::repacked, "", few);
    for (const Isa isa : {Isa::avx2, Isa::avx_vnni, Isa::avx512, Isa::amx}) {
        add(isa, 1, FormRequest::repacked, "", few);
        add(isa, many, FormRequest::repacked, "", all);
        add(isa, many + 1, FormRequest::repacked, "", {all[0], all[2]});
        add(isa, many, FormRequest::as_stored, "", few);
    }
    for (const LinearKernel& kernel : linear_kernels()) {
        add(kernel.isa, many, FormRequest::repacked, kernel.name, few);
        if (paths.back().skipped.empty() && !fits_some_weight(kernel, plan)) {
            paths.back().skipped = "no weight of this model is in a format of this kernel";
        }
    }
    add_device_paths(given, plan, all, few, paths);
    return paths;
}

}  // namespace invar
