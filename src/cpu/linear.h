// The products y = W x on the CPU: one table of kernels, each equal bit for bit to dot_quantized() over quantize_row()
// blocks (formats/format.h), and the forms of activations that they read. The caller splits rows over threads, in row
// groups; the plan decides which weights are repacked. The layouts: layout/record.h, docs/kernels.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "formats/format.h"
#include "layout/rows4.h"
#include "machine/isa.h"
#include "ops/weight.h"

namespace invar {

// How one row of activations is prepared for a kernel. Every form is 64-byte aligned and a multiple of 64 bytes per
// row.
enum class ActivationForm : uint8_t {
    rows,         // binary32 as it is
    blocks,       // QuantizedBlock after QuantizedBlock
    lanes,        // LaneRecord after LaneRecord (cpu/activations.h): 256 quantised columns, strand = lane
    strands,      // the same, but with q in the order of columns: [8 strands][32], what a tile of AMX reads
    float_lanes,  // binary32, per 256 columns [32][8]: in step i, lane b is column 32 b + i
};
// Past the end of the columns, `lanes` and `strands` have q = 0 and d = sx = -0, and `float_lanes` has x = -0. With the
// +0 (or finite positive) scales and weights that pack_rows4 puts there, a padded step adds -0, which changes no
// binary32, not even -0. So columns past the end of K have no effect, without masks.

// Bytes of one prepared row of `columns` activations (a multiple of 32 for `blocks`, `lanes` and `strands`), a multiple
// of 64.
int64_t activation_bytes(ActivationForm form, int64_t columns);
// Prepares one row. `out` is 64-byte aligned. The bytes are the same for every Isa; it must be one that this machine
// has.
void prepare_activations(ActivationForm form, Isa isa, const float* x, int64_t columns, std::byte* out);

struct LinearProblem {
    FormatId format = FormatId::f32;
    StoredForm form = StoredForm::as_stored;
    int64_t rows = 0, columns = 0, tokens = 0;
};

inline constexpr int64_t kLinearScratchBytes = 512 * 1024;  // per worker: an unpacked panel and its accumulators

// Computes y[t, r] for the tokens t of the task and the weight's rows first_row <= r < last_row, and stores it at out[t
// * out_stride + r].
struct LinearTask {
    const WeightMatrix* weight = nullptr;
    const std::byte* activations = nullptr;  // [tokens] prepared rows, activation_bytes(kernel.reads, columns) apart
    int64_t tokens = 0;
    float* out = nullptr;
    int64_t out_stride = 0;               // floats from one token to the next
    int64_t first_row = 0, last_row = 0;  // multiples of kRowGroup; last_row may also be the number of rows
    std::byte* worker_scratch = nullptr;  // kLinearScratchBytes, 64-byte aligned, one per thread; contents undefined
};

struct LinearKernel {
    std::string_view name;  // for --kernel linear=NAME
    Isa isa = Isa::scalar;
    ActivationForm reads = ActivationForm::blocks;
    bool (*fits)(const LinearProblem&) = nullptr;   // the problems it is chosen for; run takes any number of tokens
    void (*unscaled)(const LinearTask&) = nullptr;  // the dot law, without the scales beside the format
    // The number of tokens whose activations it keeps in the L2 cache; a call for more is split into several of that
    // many. 0: all.
    int64_t tokens_at_once = 0;

    // Computes the dot law, then multiplies by the scale of the tensor and that of the row (scaled() in ops/weight.h).
    void run(const LinearTask& task) const;
};

// The kernels in order of preference. For every problem some scalar kernel fits.
std::span<const LinearKernel> linear_kernels();
const LinearKernel* find_linear_kernel(std::string_view name);  // nullptr: no such row
// Returns the first row that fits and needs no more than `highest`. `forced` names a row to take whenever it fits (""
// for none).
const LinearKernel& choose_linear_kernel(const LinearProblem& problem, Isa highest, std::string_view forced);

}  // namespace invar
