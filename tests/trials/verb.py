"""A new verb whose law exists: out = softplus(gate) * up, on the CPU, on a CUDA device (emulated) and in float64."""
from trials import insert, replace

SAYS = "a verb: softplus_multiply, with bodies for the CPU, CUDA and float64"
LIMIT = 6

EDITS = [
    insert("src/ops/verbs.h", "    softplus_multiply,\n", before="    count,  // the number of verbs, not a verb"),
    insert("src/ops/verbs.h", """    {.verb = Verb::softplus_multiply,
     .name = "softplus_multiply",
     .law = "law::softplus (arithmetic/elementary.h), one product an element",
     .inputs = x | x2,
     .results = out},
""", before="}};\nconstexpr bool table_is_in_order"),
    insert("src/ops/ops.h", """    // out = softplus(gate) * up, element by element. out may be gate.
    void softplus_multiply(Stage stage, Tensor gate, Tensor up, Tensor out) {
        run({.verb = Verb::softplus_multiply, .stage = stage, .x = gate, .x2 = up, .out = out});
    }
""", before="    // x = x + y\n    void add("),
    insert("src/cpu/cpu_ops.cpp", """    static void softplus_multiply(CpuOps& cpu, const VerbCall& call) {
        const Tensor gate = call.x, up = call.x2, out = call.out;
        check_same_shape(gate, up);
        check_same_shape(gate, out);
        if (cpu.measuring()) return;
        cpu.for_each_part(gate.rows(), gate.width(), [&](int64_t row, int64_t first, int64_t count, int worker) {
            float* part = out.host_row(row) + first;
            for (int64_t i = 0; i < count; ++i)
                part[i] = law::softplus(gate.host_row(row)[first + i]) * up.host_row(row)[first + i];
            cpu.inspect(worker, 0, row, first, part, count);
        });
        cpu.report_finding(call);
    }

""", before="    static void add(CpuOps& cpu,"),
    insert("src/cpu/cpu_ops.cpp", "\n        {Verb::softplus_multiply, RowVerbs::softplus_multiply},",
           after="{Verb::activate, RowVerbs::activate},"),
    insert("src/cuda/row_kernels.cuh", """// law::softplus(gate) * up
SIMT_KERNEL(kPartThreads) softplus_multiply_kernel(ElementArgs args) {
    const int64_t row = simt::block_index_y();
    const int64_t i = int64_t{simt::block_index()} * kPartThreads + simt::thread_index();
    if (i >= args.width) return;
    const float result = law::steps::softplus(args.a.row(row)[i]) * args.b.row(row)[i];
    args.out.row(row)[i] = result;
    inspect(args.inspector, row, i, result);
}

""", before="// Copies the rows `rows` of x. Grid:"),
    insert("src/cuda/cuda_ops_elements.cu", """    static void softplus_multiply(CudaOps& cuda, const VerbCall& call) {
        check_same_shape(call.x, call.x2);
        check_same_shape(call.x, call.out);
        elements(cuda, call, call.x, rows_of(call.x2), softplus_multiply_kernel);
    }

""", before="    static void add(CudaOps& cuda,"),
    insert("src/cuda/cuda_ops_elements.cu", "\n        {Verb::softplus_multiply, ElementVerbs::softplus_multiply},",
           after="{Verb::activate, ElementVerbs::activate},"),
    insert("src/proof/reference64/float64_rows.cpp", """void softplus_multiply(const RowInputs& in, double* out) {
    const double *gate = in.x(in.row), *up = in.x2(in.row);
    for (int64_t i = 0; i < in.call.out.width(); ++i)
        out[i] = (std::max(gate[i], 0.0) + std::log1p(std::exp(-std::fabs(gate[i])))) * up[i];
}

""", before="void add(const RowInputs& in"),
    insert("src/proof/reference64/float64_rows.cpp", "\n    {Verb::softplus_multiply, softplus_multiply},",
           after="{Verb::activate, activate},"),
]


def check(copy):
    copy.add_program("trial_verb", ["tests/trials/verb_check.cpp", "src/proof/reference64/float64_rows.cpp",
                                    "src/proof/reference64/float64_math.cpp"], ["invar_cpu", "invar_cuda_emulated"])
    copy.build("trial_verb")
    copy.run_check("trial_verb", "works")
    # A device that lacks the verb says so when a pass is planned, in one sentence.
    copy.apply([replace("src/cuda/cuda_ops_elements.cu", "\n        {Verb::softplus_multiply, ElementVerbs::softplus_multiply},", "")])
    copy.build("trial_verb")
    copy.run_check("trial_verb", "lacks")
