// Lists the attention kernels in order of preference.
#include <array>

#include "cpu/attention_kernels.h"

namespace invar {
namespace {

constexpr std::array<const AttentionKernels*, 3> kTable = {&kAttentionKernelsAvx512, &kAttentionKernelsAvx2,
                                                           &kAttentionKernelsScalar};

}  // namespace

std::span<const AttentionKernels* const> attention_kernels() { return kTable; }

const AttentionKernels& choose_attention_kernels(Isa highest) {
    for (const AttentionKernels* kernels : kTable) {
        if (kernels->isa <= highest) return *kernels;
    }
    return kAttentionKernelsScalar;
}

}  // namespace invar
