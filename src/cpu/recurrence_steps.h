// What a kernel of a recurrence is given: some positions of one head, and the columns of its state that the kernel
// advances through them. Columns do not touch each other, so any split of them gives the same bits.
// cpu_ops_recurrence.cpp fills these; RowKernels (row_kernels.h) has the kernels.
#pragma once

#include <cstdint>

namespace invar {

inline constexpr int kStepsTogether = 64;       // positions of one call, at most
inline constexpr int kColumnsTogether = 64;     // columns whose state a kernel keeps in its scratch
inline constexpr int kChannelsTogether = 1024;  // of a convolution

// One position of one head. Delta rule: query, key, value, beta. Mamba 2: C, B, x, dt.
struct HeadStep {
    const float* query = nullptr;  // [key_width]
    const float* key = nullptr;    // [key_width]
    const float* value = nullptr;  // [columns], from the first column on
    float decay = 0;
    float factor = 0;
    float* out = nullptr;  // [columns], likewise
};

struct HeadColumns {
    const HeadStep* steps = nullptr;
    int count = 0;  // 1 to kStepsTogether
    int key_width = 0;
    int columns = 0;
    int64_t stride = 0;        // elements from one row of the state to the next
    float* state = nullptr;    // [key_width][stride], from the first column on
    float skip = 0;            // d of Mamba 2
    float* scratch = nullptr;  // [key_width][kColumnsTogether]
};

}  // namespace invar
