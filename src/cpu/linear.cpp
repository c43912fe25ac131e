// The table of products and the choice of a row. The scalar kernels of the quantised formats are here; vector kernels
// are declared in linear_vector.h, kernels of float formats in float_products.h.
#include "cpu/linear.h"

#include "base/check.h"
#include "cpu/float_products.h"
#include "cpu/linear_steps.h"
#include "cpu/linear_vector.h"
#include "formats/definitions.h"
#include "machine/avx512_vbmi.h"

namespace invar {
namespace {

// The most bytes that 256 columns of a row take as stored, over the quantised formats with records.
constexpr int64_t kMostRecordBytes = [] {
    int64_t most = 0;
    const auto bytes = format_table<int64_t>([]<FormatId kId>() -> int64_t {
        if (!describe(kId).has_pieces() || describe(kId).is_float()) return 0;
        return kRecordColumns / BlockOf<kId>::kWeights * int64_t{sizeof(BlockOf<kId>)};
    });
    for (const int64_t each : bytes.entries) most = each > most ? each : most;
    return most;
}();

// Computes the definition itself, 256 columns at a time where the row must be unpacked first.
void linear_scalar(const LinearTask& task) {
    const WeightMatrix& weight = *task.weight;
    const Format& format = *weight.format;
    const int64_t row_bytes = format.row_bytes(weight.columns);
    const int64_t x_bytes = activation_bytes(ActivationForm::blocks, weight.columns);
    std::byte unpacked[kMostRecordBytes];
    for (int64_t row = task.first_row; row < task.last_row; ++row) {
        for (int64_t token = 0; token < task.tokens; ++token) {
            const auto* x = reinterpret_cast<const QuantizedBlock*>(task.activations + token * x_bytes);
            float y = 0;
            if (weight.form == StoredForm::as_stored) {
                y = dot_quantized(format, weight.data + row * row_bytes, x, weight.columns);
            } else {
                Strands strands;
                for (int64_t record = 0; record < records_of(weight.columns); ++record) {
                    const int64_t first = record * kRecordColumns;
                    unpack_row_record(format, weight.data, weight.columns, row, record, unpacked);
                    for (int64_t k = 0; k < kRecordColumns && first + k < weight.columns; k += format.block_weights) {
                        const int64_t block = (first + k) / kDotBlock;
                        format.accumulate(unpacked + format.row_bytes(k), x + block, block, strands);
                    }
                }
                y = strands.total();
            }
            task.out[token * task.out_stride + row] = y;
        }
    }
}

bool is_quantized(const LinearProblem& problem) { return !format(problem.format).is_float; }
bool is_float(const LinearProblem& problem) { return format(problem.format).is_float; }
bool packed_quantized(const LinearProblem& problem) {
    return problem.form == StoredForm::rows4 && is_quantized(problem);
}
bool packed_float(const LinearProblem& problem) { return problem.form == StoredForm::rows4 && is_float(problem); }

bool packed_e4m3_with_vbmi(const LinearProblem& problem) {
    return packed_float(problem) && record_layout(problem.format).elements == Elements::e4m3 && has_avx512_vbmi();
}

// Until how many tokens a direct kernel is faster than tiles, which first unpack a panel (measured, docs/kernels.md).
bool few_tokens_avx512(const LinearProblem& problem) { return packed_quantized(problem) && problem.tokens <= 32; }
bool few_tokens_avx_vnni(const LinearProblem& problem) { return packed_quantized(problem) && problem.tokens <= 3; }
bool few_tokens_avx2(const LinearProblem& problem) {
    // 8-bit codes take the sign trick in both kernels, so that tiles save little.
    return packed_quantized(problem) && problem.tokens <= (record_layout(problem.format).offset == 128 ? 12 : 3);
}

// The first row that fits wins. A CPU may have AVX-512 VNNI without AVX-VNNI (Cascade Lake, Zen 4); therefore a row of
// AVX-512 stands before the rows of AVX-VNNI for every problem that they fit.
constexpr LinearKernel kTable[] = {
    {"avx512_direct", Isa::avx512, ActivationForm::lanes, few_tokens_avx512, linear_direct_avx512},
    {"avx512_tiles", Isa::avx512, ActivationForm::lanes, packed_quantized, linear_tiles_avx512, 144},
    // AMX stands behind the rows it would replace, so it is taken only by name (--kernel), until it has been measured
    // on a chip that has AMX.
    {"amx_tiles", Isa::amx, ActivationForm::strands, packed_quantized, linear_tiles_amx, 128},
    {"avx_vnni_direct", Isa::avx_vnni, ActivationForm::lanes, few_tokens_avx_vnni, linear_direct_avx_vnni},
    {"avx_vnni_tiles", Isa::avx_vnni, ActivationForm::lanes, packed_quantized, linear_tiles_avx_vnni, 96},
    {"avx2_direct", Isa::avx2, ActivationForm::lanes, few_tokens_avx2, linear_direct_avx2},
    {"avx2_tiles", Isa::avx2, ActivationForm::lanes, packed_quantized, linear_tiles_avx2, 96},
    {"float_avx512_vbmi", Isa::avx512, ActivationForm::float_lanes, packed_e4m3_with_vbmi, float_product_avx512_vbmi},
    {"float_avx512", Isa::avx512, ActivationForm::float_lanes, packed_float, float_product_avx512},
    {"float_avx2", Isa::avx2, ActivationForm::float_lanes, packed_float, float_product_avx2},
    {"float_scalar", Isa::scalar, ActivationForm::rows, is_float, float_product_scalar},
    {"scalar", Isa::scalar, ActivationForm::blocks, is_quantized, linear_scalar},
};

// The unsigned level tables of the vector kernels must be the formats' own, plus the offset.
constexpr bool levels_agree() {
    for (int i = 0; i < 16; ++i) {
        if (kIq4LevelsPlus128[i] != iq4_nl::kLevels[i] + 128) return false;
        if (kE2M1LevelsPlus12[i] != kDoubledE2M1[i] + 12) return false;
    }
    return true;
}
static_assert(levels_agree());

}  // namespace

void LinearKernel::run(const LinearTask& task) const {
    unscaled(task);
    const WeightMatrix& weight = *task.weight;
    if (weight.scale == 1.0f && weight.row_scales == nullptr) return;
    for (int64_t token = 0; token < task.tokens; ++token) {
        float* const y = task.out + token * task.out_stride;
        for (int64_t row = task.first_row; row < task.last_row; ++row) y[row] = scaled(weight, row, y[row]);
    }
}

std::span<const LinearKernel> linear_kernels() { return kTable; }

const LinearKernel* find_linear_kernel(std::string_view name) {
    for (const LinearKernel& kernel : kTable) {
        if (kernel.name == name) return &kernel;
    }
    return nullptr;
}

const LinearKernel& choose_linear_kernel(const LinearProblem& problem, Isa highest, std::string_view forced) {
    const LinearKernel* chosen = nullptr;
    for (const LinearKernel& kernel : kTable) {
        if (kernel.isa > highest || !kernel.fits(problem)) continue;
        if (kernel.name == forced) return kernel;
        if (chosen == nullptr) chosen = &kernel;
    }
    CHECK(chosen != nullptr, "a scalar row fits every problem");
    return *chosen;
}

}  // namespace invar
