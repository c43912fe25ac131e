// The linear layers behind pooling that a checkpoint has: which tensors they are and their shapes. Models declare them
// as weights of theirs (models/embedding_weights.h), so that they are in the plan like every other weight. What the
// config says of them is checked against them in embedding_config.h.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "files/checkpoint.h"

namespace invar {

// The names of a dense layer's weights in reports, in the order of the layers, and how GGUF files call the weight.
struct DenseRole {
    std::string_view weight, bias;
    std::string_view gguf;  // "": GGUF has no name for it
};
inline constexpr std::array<DenseRole, 4> kDenseRoles = {{{"pooled_dense_1", "pooled_dense_1_bias", "dense_2.weight"},
                                                          {"pooled_dense_2", "pooled_dense_2_bias", "dense_3.weight"},
                                                          {"pooled_dense_3", "pooled_dense_3_bias", ""},
                                                          {"pooled_dense_4", "pooled_dense_4_bias", ""}}};

struct DenseTensors {
    DenseRole role;
    std::string folder;        // of its module; "" in a GGUF file
    std::string weight, bias;  // tensors; the bias is "" where there is none
    int64_t outputs = 0, inputs = 0;
};

// A tensor that should be a matrix and is none is left out here, and then refused as one that no weight uses. At most
// kDenseRoles.size() layers are listed.
std::vector<DenseTensors> dense_tensors(const Checkpoint& checkpoint);

}  // namespace invar
