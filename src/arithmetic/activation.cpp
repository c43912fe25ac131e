// The activations, with one operation per line where the order matters.
#include "arithmetic/activation.h"

#include "arithmetic/elementary.h"
#include "base/check.h"

namespace invar {

std::string_view activation_name(Activation kind) {
    switch (kind) {
        case Activation::silu:
            return "silu";
        case Activation::gelu_tanh:
            return "gelu_tanh";
        case Activation::gelu:
            return "gelu";
        case Activation::relu_squared:
            return "relu_squared";
        case Activation::sigmoid:
            return "sigmoid";
        case Activation::clamped_swiglu:
            return "clamped_swiglu";
        case Activation::identity:
            return "identity";
    }
    return "unknown";
}

namespace law {

float activate(const ActivationSpec& spec, float x) {
    switch (spec.kind) {
        case Activation::silu:
            return silu(x);
        case Activation::gelu_tanh:
            return gelu_tanh(x);
        case Activation::gelu:
            return gelu(x);
        case Activation::relu_squared: {
            const float positive = x < 0.0f ? 0.0f : x;  // a NaN stays
            return positive * positive;
        }
        case Activation::sigmoid:
            return sigmoid(x);
        case Activation::identity:
            return x;
        case Activation::clamped_swiglu:
            break;
    }
    CHECK(false, "a clamped SwiGLU has two operands");
    return 0;
}

float activate(const ActivationSpec& spec, float x, float up) {
    if (spec.kind != Activation::clamped_swiglu) return activate(spec, x) * up;
    const float gate = x > spec.limit ? spec.limit : x;  // a NaN stays, here and below
    float linear = up > spec.limit ? spec.limit : up;
    linear = linear < -spec.limit ? -spec.limit : linear;
    const float gated = gate * sigmoid(spec.alpha * gate);
    return (linear + 1.0f) * gated;
}

float softcap(float x, float cap) { return cap * tanh(x / cap); }

}  // namespace law
}  // namespace invar
