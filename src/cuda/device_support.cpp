#include "cuda/device_support.h"

namespace invar {

std::string cuda_version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

tl::unexpected<Error> refuse_driver(int driver_version, int runtime_version) {
    if (driver_version == 0)
        return fail(ErrorKind::unsupported, "this machine has no NVIDIA driver; install one or use --device cpu");
    return fail(
        ErrorKind::unsupported,
        "the NVIDIA driver supports CUDA {}, which is older than this program's CUDA {}; update it or use --device cpu",
        cuda_version_text(driver_version), cuda_version_text(runtime_version));
}

Result<void> check_device_index(int index, int count) {
    if (count == 0) return fail(ErrorKind::unsupported, "this machine has no CUDA device; use --device cpu");
    if (index < 0 || index >= count)
        return fail(ErrorKind::not_found, "there is no CUDA device {}; this machine has {}, numbered from 0", index,
                    count);
    return {};
}

Result<void> check_capability(int index, const std::string& name, int capability) {
    if (capability >= kLeastCapability) return {};
    return fail(ErrorKind::unsupported,
                "CUDA device {} ({}) has compute capability {}.{}, but at least {}.{} is needed; use --device cpu",
                index, name, capability / 10, capability % 10, kLeastCapability / 10, kLeastCapability % 10);
}

}  // namespace invar
