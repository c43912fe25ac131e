// The tensors that together hold the weights of one module: a format, the tensor of its blocks or codes, and the scales
// beside them, which every tool of the field names in its own way. Tensors whose meaning is known but not implemented
// are refused by name. binding.h makes a weight from a module's tensors.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "files/checkpoint.h"
#include "files/stored_weight.h"

namespace invar {

// The scale of a whole tensor is stored in one of two ways that are easily confused.
struct ScaleMultiplier {
    float value = 1;  // weight = code * block scale * value
};
struct ScaleDivisor {
    float value = 1;  // weight = code * block scale / value
    // 0 for a divisor of 0: files have it for experts that no calibration text reached, whose block scales are 0.
    ScaleMultiplier multiplier() const { return {value == 0 ? 0.0f : 1.0f / value}; }
};

struct ModuleTensors {
    const Format* format = nullptr;
    CodePacking packing = CodePacking::blocks;
    const TensorInfo* weights = nullptr;
    const TensorInfo* scales = nullptr;  // of blocks
    std::vector<int64_t> shape;          // in weights, outermost first
    std::vector<float> multipliers;      // one for each matrix, or one for all; empty: none
    std::vector<float> divisors;         // likewise, where the file states divisors: the multipliers are their inverses
    ScaleOrder scale_order = ScaleOrder::last;
    std::vector<float> row_multipliers;   // one for each row of all matrices; empty: none
    std::vector<const TensorInfo*> read;  // where these came from
};

// Whether the format's blocks are single unscaled numbers: f32, f16, bf16.
bool holds_plain_numbers(const Format& format);

// `tensor` is the name that the weights have or would have: "model.layers.0.mlp.up_proj.weight". Nothing where the
// checkpoint has no such module.
Result<std::optional<ModuleTensors>> find_module(const Checkpoint& checkpoint, const std::string& tensor);

}  // namespace invar
