// A program without the CUDA backend: built without the toolkit, or with -DINVAR_CUDA=OFF.
#include "cuda/cuda_backend.h"

namespace invar {

Result<std::shared_ptr<Accelerator>> open_cuda(int) {
    return fail(ErrorKind::unsupported,
                "this program was built without CUDA; build it where nvcc is found, or use --device cpu");
}

}  // namespace invar
