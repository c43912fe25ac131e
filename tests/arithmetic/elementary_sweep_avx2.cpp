// The law's steps compiled with -mavx2 -mfma; the loops are vectorised by the compiler. Whether the machine may run
// this is decided by the caller (elementary_exhaustive_test.cpp).
#include "arithmetic/elementary_steps.h"
#include "elementary_sweep.h"

namespace invar {
namespace {

template <float (*kFunction)(float)>
void evaluate(uint32_t first, int64_t count, float* results) {
    for (int64_t i = 0; i < count; ++i) results[i] = kFunction(law::steps::as_float(first + static_cast<uint32_t>(i)));
}

}  // namespace

void evaluate_avx2(Elementary function, uint32_t first, int64_t count, float* results) {
    switch (function) {
        case Elementary::exp:
            return evaluate<law::steps::exp>(first, count, results);
        case Elementary::tanh:
            return evaluate<law::steps::tanh>(first, count, results);
        case Elementary::sigmoid:
            return evaluate<law::steps::sigmoid>(first, count, results);
        case Elementary::silu:
            return evaluate<law::steps::silu>(first, count, results);
        case Elementary::gelu_tanh:
            return evaluate<law::steps::gelu_tanh>(first, count, results);
        case Elementary::softplus:
            return evaluate<law::steps::softplus>(first, count, results);
    }
}

}  // namespace invar
