// Chooses the experts of a token, their order and their weights (docs/arithmetic.md, section 6). The ranking is a total
// order, so that no two machines choose differently. The logits (dot law) and the softmax (softmax.h) are computed
// elsewhere.
#pragma once

#include <cstdint>
#include <vector>

namespace invar {

struct RoutedExpert {
    int32_t expert;
    float weight;
};

struct Routing {
    std::vector<RoutedExpert> experts;  // in rank order
    // Weight of the last chosen expert minus that of the best one left out, before renormalisation; if every expert is
    // chosen, the weight of the last one. A small margin marks a near tie.
    float margin = 0;
};

namespace law {

// The first k experts by (probability descending, index ascending). 1 <= k <= n. The caller refuses NaNs before.
Routing top_k(const float* probabilities, int64_t n, int64_t k);

// Divides each weight by their sum, taken in rank order from the first: ((w0 + w1) + w2) + ...
void renormalise(Routing& routing);

}  // namespace law
}  // namespace invar
