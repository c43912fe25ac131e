// The verbs that compute one element at a time: additions, activations, factors, soft caps, gates and copies. See
// cuda_ops.h; the kernels: element_kernels.cuh and row_kernels.cuh.
#include "base/check.h"
#include "cuda/cuda_ops_control.cuh"
#include "cuda/element_kernels.cuh"
#include "cuda/kernel_loading.h"

namespace invar {

using namespace cuda;

struct CudaOps::ElementVerbs {
    static Inspector inspector(CudaOps& cuda, const VerbCall& call) {
        return Inspector::of(cuda.control_->failure.global(), cuda.next_call(call));
    }
    static simt::Stream stream(CudaOps& cuda) { return stream_of(cuda.settings_.device); }

    // Two operands and a result.
    template <class Kernel>
    static void elements(CudaOps& cuda, const VerbCall& call, Tensor a, Rows b, Kernel kernel) {
        if (cuda.settings_.measuring) return;
        const ElementArgs args{.a = rows_of(a),
                               .b = b,
                               .out = rows_of(call.out),
                               .width = call.out.width(),
                               .inspector = inspector(cuda, call)};
        simt::launch(stream(cuda), parts_grid(call.out, verb_name(call.verb).data()), kernel, args);
    }

    static void add_bias(CudaOps& cuda, const VerbCall& call) {
        const WeightVector& bias = *call.vector;
        CHECK(call.out.width() == bias.size, "a bias has an element for each of the row");
        // The kernel only reads b; the const is removed so that one type Rows suffices.
        const Rows every_row{.data = simt::global(const_cast<float*>(bias.data), bias.size), .stride = 0};
        elements(cuda, call, call.out, every_row, add_kernel);
    }
    static void add(CudaOps& cuda, const VerbCall& call) {
        check_same_shape(call.out, call.x2);
        elements(cuda, call, call.out, rows_of(call.x2), add_kernel);
    }
    static void gate_rows(CudaOps& cuda, const VerbCall& call) {
        CHECK(call.x2.rows() == call.out.rows() && call.x2.width() == 1, "a row has one gate");
        elements(cuda, call, call.out, rows_of(call.x2), gate_rows_kernel);
    }
    static void copy(CudaOps& cuda, const VerbCall& call) {
        check_same_shape(call.x, call.out);
        elements(cuda, call, call.x, {}, copy_kernel);
    }

    static void activate(CudaOps& cuda, const VerbCall& call) {
        const Tensor gate = call.x, up = call.x2, out = call.out;
        const bool has_up = up.rows() > 0;
        check_same_shape(gate, out);
        if (has_up) check_same_shape(gate, up);
        CHECK(has_up || call.activation->kind != Activation::clamped_swiglu, "a clamped SwiGLU has two operands");
        if (cuda.settings_.measuring) return;
        const ActivateArgs args{.gate = rows_of(gate),
                                .up = has_up ? rows_of(up) : Rows{},
                                .out = rows_of(out),
                                .has_up = has_up ? 1 : 0,
                                .spec = *call.activation,
                                .width = out.width(),
                                .inspector = inspector(cuda, call)};
        simt::launch(stream(cuda), parts_grid(out, "activate"), activate_kernel, args);
    }

    static FactorArgs factor_args(CudaOps& cuda, const VerbCall& call) {
        return {.x = rows_of(call.out),
                .factor = call.factor,
                .width = call.out.width(),
                .inspector = inspector(cuda, call)};
    }
    static void scale(CudaOps& cuda, const VerbCall& call) {
        if (cuda.settings_.measuring) return;
        simt::launch(stream(cuda), parts_grid(call.out, "scale"), scale_kernel, factor_args(cuda, call));
    }
    static void softcap(CudaOps& cuda, const VerbCall& call) {
        if (cuda.settings_.measuring) return;
        simt::launch(stream(cuda), parts_grid(call.out, "softcap"), softcap_kernel, factor_args(cuda, call));
    }

    static void scale_by_position(CudaOps& cuda, const VerbCall& call) {
        const PositionScale& spec = *call.position_scale;
        CHECK(call.out.rows() == call.batch->size() && spec.length > 0, "there is a row for each of the batch");
        if (cuda.settings_.measuring) return;
        cuda.bring_batch(*call.batch);
        const PositionScaleArgs args{.x = rows_of(call.out),
                                     .positions = cuda.control_->positions.constant(),
                                     .beta = spec.beta,
                                     .length = spec.length,
                                     .offset = spec.offset,
                                     .width = call.out.width(),
                                     .inspector = inspector(cuda, call)};
        simt::launch(stream(cuda), parts_grid(call.out, "scale_by_position"), scale_by_position_kernel, args);
    }

    static void multiply(CudaOps& cuda, const VerbCall& call) {
        CHECK(call.vector->size > 0 && call.out.width() % call.vector->size == 0,
              "a row is a whole number of the weight");
        if (cuda.settings_.measuring) return;
        const MultiplyArgs args{.x = rows_of(call.out),
                                .weight = vector_of(call.vector),
                                .size = call.vector->size,
                                .width = call.out.width(),
                                .inspector = inspector(cuda, call)};
        simt::launch(stream(cuda), parts_grid(call.out, "multiply"), multiply_kernel, args);
    }

    static void add_slot_bias(CudaOps& cuda, const VerbCall& call) {
        const Tensor y = call.out;
        const int64_t slots = call.slots.rows * call.slots.experts_per_row;
        CHECK(y.rows() == slots && call.vector->size % y.width() == 0, "a bias has a row for each expert");
        if (cuda.settings_.measuring) return;
        const SlotBiasArgs args{.y = rows_of(y),
                                .bias = vector_of(call.vector),
                                .expert_of_slot = simt::global(static_cast<const int32_t*>(call.slots.experts), slots),
                                .width = y.width(),
                                .inspector = inspector(cuda, call)};
        simt::launch(stream(cuda), parts_grid(y, "add_slot_bias"), add_slot_bias_kernel, args);
    }
};

std::span<const CudaOps::Body> CudaOps::element_bodies() {
    static constexpr Body kBodies[] = {
        {Verb::add_bias, ElementVerbs::add_bias},
        {Verb::add, ElementVerbs::add},
        {Verb::activate, ElementVerbs::activate},
        {Verb::scale, ElementVerbs::scale},
        {Verb::scale_by_position, ElementVerbs::scale_by_position},
        {Verb::multiply, ElementVerbs::multiply},
        {Verb::softcap, ElementVerbs::softcap},
        {Verb::gate_rows, ElementVerbs::gate_rows},
        {Verb::copy, ElementVerbs::copy},
        {Verb::add_slot_bias, ElementVerbs::add_slot_bias},
    };
    return kBodies;
}

const void* cuda::kernel_of_elements() { return reinterpret_cast<const void*>(scale_kernel); }

}  // namespace invar
