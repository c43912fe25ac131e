// The law's steps compiled with -mavx2 -mfma; the loops are vectorised by the compiler. Whether the machine may run
// this is decided by the caller (elementary_exhaustive_test.cpp).
#include "arithmetic/elementary_steps.h"
#include "elementary_sweep.h"

namespace invar {
namespace {

template <float (*kFunction)(float)>
void evaluate(uint32_t first, float* results) {
    for (uint32_t i = 0; i < kSweepBatch; ++i) results[i] = kFunction(law::steps::as_float(first + i));
}

}  // namespace

void evaluate_avx2(Elementary function, uint32_t first, float* results) {
    switch (function) {
        case Elementary::exp:
            return evaluate<law::steps::exp>(first, results);
        case Elementary::tanh:
            return evaluate<law::steps::tanh>(first, results);
        case Elementary::sigmoid:
            return evaluate<law::steps::sigmoid>(first, results);
        case Elementary::silu:
            return evaluate<law::steps::silu>(first, results);
        case Elementary::gelu_tanh:
            return evaluate<law::steps::gelu_tanh>(first, results);
        case Elementary::gelu:
            return evaluate<law::steps::gelu>(first, results);
        case Elementary::softplus:
            return evaluate<law::steps::softplus>(first, results);
    }
}

}  // namespace invar
