"""A new product kernel for CUDA: one file and one row of the table. Tests that walk the table run it without an edit."""
from trials import Failure, insert, new_file

SAYS = "a CUDA product row: toy, one thread an output, for f32 weights and one token"
LIMIT = 2

EDITS = [
    new_file("src/cuda/toy_product.cu", """// Products of f32 weights, one thread an output: eight strands, one after the other. Equal to dot_float().
#include "cuda/products.cuh"
#include "cuda/row_kernels.cuh"

namespace invar::cuda {

SIMT_KERNEL(64) toy_kernel(DecodeArgs args) {
    using W = FloatWeights<FormatId::f32>;
    const int64_t row = int64_t{simt::block_index()} * 64 + simt::thread_index(), records = records_of(args.columns);
    if (row >= args.rows) return;
    const int64_t token = simt::block_index_y();
    const auto group = weights_of(args, token) + row / kGroupRows * W::group_size(records);
    const auto x =
        simt::view<const float>(args.activations + activation_row(args, token) * (records * kRecordColumns * 4));
    float total = 0;
    for (int strand = 0; strand < 8; ++strand) {
        float s = 0;
        for (int64_t record = 0; record < records; ++record) {
            for (int k = 0; k < 32; ++k) {
                const float w =
                    weight_at<FormatId::f32>(group, static_cast<int>(row % kGroupRows), record, 32 * strand + k);
                s = simt::fma(w, x[record * kRecordColumns + (k / 4 * 8 + strand) * 4 + k % 4], s);
            }
        }
        total = strand == 0 ? s : total + s;
    }
    const int64_t expert = simt::is_null(args.experts) ? 0 : args.experts[token];
    const float y = scaled(args.scales, expert, row, args.rows, total);
    args.out[token * args.out_stride + row] = y;
    inspect(args.inspector, token, row, y);
}

void launch_toy(simt::Stream stream, FormatId, const DecodeArgs& args) {
    const simt::Grid grid{
        .x = static_cast<int>((args.rows + 63) / 64), .y = static_cast<int>(args.tokens), .threads = 64, .name = "toy"};
    simt::launch(stream, grid, toy_kernel, args);
}

const void* kernel_of_toy() { return reinterpret_cast<const void*>(toy_kernel); }

}  // namespace invar::cuda
"""),
    insert("src/cuda/product_kernels.cu", """
void launch_toy(simt::Stream stream, FormatId format, const DecodeArgs& args);
const void* kernel_of_toy();
""", after="namespace invar::cuda {\n"),
    insert("src/cuda/product_kernels.cu", """    {"toy", [](FormatId id) { return id == FormatId::f32; }, [](const ProductProblem& p) { return p.tokens == 1; },
     launch_toy, nullptr, 0, kernel_of_toy},
""", after="constexpr ProductKernel kTable[] = {\n"),
]


GOLDEN = "tests/data/goldens/qwen3.gguf"  # F32


def kernels_of_generation(copy, program):
    report = copy.json(program, "bench", GOLDEN, "--device", "cuda", "--context", "128", "--chunk", "16", "--threads", "2", "--prompt", "6",
                       "--generate", "1", "--runs", "1")
    return {kernel for line in report["steps"][1]["lines"] if line["verb"] == "linear" for kernel in line["kernels"]}


def check(copy):
    copy.add_program("trial_row", ["tests/trials/row_check.cpp", "tests/cuda/linear_decode_test.cpp", "tests/cpu/linear_case.cpp"],
                     ["invar_cpu", "invar_cuda_emulated", "GTest::gtest_main"])
    copy.build("trial_row", "invar_emulated")
    copy.run_check("trial_row", "--gtest_filter=TrialRow.*:CudaDecode.EqualsTheDefinition*:CudaProducts.*", only="toy|decode f32:")
    ours, before = (kernels_of_generation(copy, program) for program in ("invar_emulated", copy.before / "invar_emulated"))
    if "toy" not in ours or "toy" in before:
        raise Failure(f"products of one token are computed by {', '.join(ours)}, and without the row by {', '.join(before)}")
    copy.verify(GOLDEN, "--only", "cuda*", "--seconds", "2")
