// The runtime knows modules, one per source file, and the driver their functions. See kernel_loading.h.
#if defined(__CUDACC__)

#include <cuda.h>
#include <cuda_runtime.h>

#include <vector>

#include "cuda/kernel_loading.h"
#include "cuda/products.cuh"

namespace invar::cuda {
namespace {

// The driver's functions are looked up by name, so that the program starts without a driver. The functions that list a
// module's kernels came with CUDA 12.4.
constexpr unsigned kSince = 12040;

template <class Function>
bool find_entry(const char* name, Function*& entry) {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult status = cudaDriverEntryPointSymbolNotFound;
    const cudaError_t error = cudaGetDriverEntryPointByVersion(name, &found, kSince, cudaEnableDefault, &status);
    if (error != cudaSuccess || status != cudaDriverEntryPointSuccess) return false;
    entry = reinterpret_cast<Function*>(found);
    return true;
}

struct Driver {
    decltype(cuFuncGetModule)* module_of = nullptr;
    decltype(cuModuleGetFunctionCount)* count = nullptr;
    decltype(cuModuleEnumerateFunctions)* list = nullptr;
    decltype(cuFuncLoad)* load = nullptr;

    bool find() {
        return find_entry("cuFuncGetModule", module_of) && find_entry("cuModuleGetFunctionCount", count) &&
               find_entry("cuModuleEnumerateFunctions", list) && find_entry("cuFuncLoad", load);
    }
};

CUresult load_module(const Driver& driver, CUfunction known) {
    CUmodule module = nullptr;
    unsigned count = 0;
    if (const CUresult error = driver.module_of(&module, known); error != CUDA_SUCCESS) return error;
    if (const CUresult error = driver.count(&count, module); error != CUDA_SUCCESS) return error;
    std::vector<CUfunction> functions(count);
    if (const CUresult error = driver.list(functions.data(), count, module); error != CUDA_SUCCESS) return error;
    for (CUfunction function : functions)
        if (const CUresult error = driver.load(function); error != CUDA_SUCCESS) return error;
    return CUDA_SUCCESS;
}

}  // namespace

Result<bool> load_every_kernel() {
    Driver driver;
    if (!driver.find()) return false;
    std::vector<const void*> kernels = {kernel_of_verbs(),    kernel_of_elements(),    kernel_of_positions(),
                                        kernel_of_grouping(), kernel_of_recurrences(), kernel_of_sampling(),
                                        kernel_of_probes()};
    for (const ProductKernel& product : product_kernels()) kernels.push_back(product.any_kernel());
    for (const void* kernel : kernels) {
        cudaFunction_t function = nullptr;
        const cudaError_t error = cudaGetFuncBySymbol(&function, kernel);
        if (error != cudaSuccess)
            return fail(ErrorKind::device_lost, "the CUDA device cannot load this program's kernels: {} ({})",
                        cudaGetErrorString(error), cudaGetErrorName(error));
        if (const CUresult loaded = load_module(driver, function); loaded != CUDA_SUCCESS)
            return fail(ErrorKind::device_lost,
                        "the CUDA device cannot load this program's kernels: the driver's error {}",
                        static_cast<int>(loaded));
    }
    return true;
}

}  // namespace invar::cuda

#endif
