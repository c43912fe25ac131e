// The activations of feed-forward parts and gates, one element at a time (docs/arithmetic.md, section 6).
#pragma once

#include <cstdint>
#include <string_view>

namespace invar {

enum class Activation : uint8_t {
    silu,            // silu(x)
    gelu_tanh,       // gelu_tanh(x)
    gelu,            // gelu(x)
    relu_squared,    // r r with r = x > 0 ? x : 0
    sigmoid,         // sigmoid(x)
    clamped_swiglu,  // gpt-oss: with g = min(x, limit), u = clamp(up, -limit, limit): (u + 1) * (g * sigmoid(alpha *
                     // g))
    identity,        // x: with a second operand, the product of two
};

struct ActivationSpec {
    Activation kind = Activation::silu;
    float alpha = 0, limit = 0;  // of clamped_swiglu
    bool operator==(const ActivationSpec&) const = default;
};
std::string_view activation_name(Activation kind);

namespace law {

// The activation of x without a second operand. Not for clamped_swiglu, which needs one.
float activate(const ActivationSpec& spec, float x);
// The activation of x, times up (clamped_swiglu: as above). One rounding an operation, in the order written.
float activate(const ActivationSpec& spec, float x, float up);

// cap * tanh(x / cap)
float softcap(float x, float cap);

}  // namespace law
}  // namespace invar
