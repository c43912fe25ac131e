// Lists the row kernels in order of preference.
#include <array>

#include "base/check.h"
#include "cpu/row_kernels.h"

namespace invar {
namespace {

constexpr std::array<const RowKernels*, 3> kTable = {&kRowKernelsAvx512, &kRowKernelsAvx2, &kRowKernelsScalar};

}  // namespace

std::span<const RowKernels* const> row_kernels() { return kTable; }

const RowKernels& choose_row_kernels(Isa highest) {
    for (const RowKernels* kernels : kTable) {
        if (kernels->isa <= highest) return *kernels;
    }
    return kRowKernelsScalar;
}

}  // namespace invar
