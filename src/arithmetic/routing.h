// Which experts a token visits, in which order, with which weights (docs/arithmetic.md, section 6). The ranking is a
// total order, so that no two machines choose differently. It does not compute the logits (dot law) nor the softmax
// (softmax.h).
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
    // Weight of the last chosen expert less that of the first one left out, before renormalisation; the whole weight
    // of the last one where every expert is chosen. A small margin marks a near tie.
    float margin = 0;
};

namespace law {

// The k experts that come first by (probability descending, index ascending). 1 <= k <= n. A NaN must have been refused
// before.
Routing top_k(const float* probabilities, int64_t n, int64_t k);

// Divides each weight by their sum, taken in rank order from the first: ((w0 + w1) + w2) + ...
void renormalise(Routing& routing);

}  // namespace law
}  // namespace invar
