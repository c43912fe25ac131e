// Softmax, in its four steps.
#include "arithmetic/softmax.h"

#include "arithmetic/elementary.h"
#include "arithmetic/reduce.h"

namespace invar::law {

void softmax(const float* logits, int64_t n, float* probabilities) {
    float largest = logits[0];
    for (int64_t i = 1; i < n; ++i) largest = logits[i] > largest ? logits[i] : largest;
    for (int64_t i = 0; i < n; ++i) probabilities[i] = exp(logits[i] - largest);
    const float total = sum(probabilities, n);
    for (int64_t i = 0; i < n; ++i) probabilities[i] = probabilities[i] / total;
}

}  // namespace invar::law
