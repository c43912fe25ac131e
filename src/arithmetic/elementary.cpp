// Callable copies of the inline functions in elementary_steps.h.
#include "arithmetic/elementary.h"

#include "arithmetic/elementary_steps.h"

namespace invar::law {

float exp(float x) { return steps::exp(x); }
float tanh(float x) { return steps::tanh(x); }
float sigmoid(float x) { return steps::sigmoid(x); }
float silu(float x) { return steps::silu(x); }
float gelu_tanh(float x) { return steps::gelu_tanh(x); }
float gelu(float x) { return steps::gelu(x); }
float softplus(float x) { return steps::softplus(x); }

}  // namespace invar::law
