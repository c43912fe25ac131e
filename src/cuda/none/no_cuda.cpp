// The backend of a program without CUDA: built if there is no NVIDIA driver, without the toolkit, or with CUDA=0.
#include "cuda/cuda_backend.h"

namespace invar {

Result<std::shared_ptr<Accelerator>> open_cuda(int) {
    return fail(
        ErrorKind::unsupported,
        "this program was built without CUDA; build it with make build CUDA=1 where nvcc is, or use --device cpu");
}

}  // namespace invar
