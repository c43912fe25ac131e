// Ranks by insertion: n is at most a few hundred and k about eight.
#include "arithmetic/routing.h"

#include "base/check.h"

namespace invar::law {

Routing top_k(const float* probabilities, int64_t n, int64_t k) {
    CHECK(k >= 1 && k <= n, "the loader refuses a model that chooses more experts than it has");
    std::vector<RoutedExpert> ranked;  // the best k + 1 so far
    ranked.reserve(k + 2);
    for (int64_t i = 0; i < n; ++i) {
        // Indices rise, so an equal probability ranks behind those already there.
        auto place = ranked.end();
        while (place != ranked.begin() && (place - 1)->weight < probabilities[i]) --place;
        if (place - ranked.begin() > k) continue;
        ranked.insert(place, {static_cast<int32_t>(i), probabilities[i]});
        if (static_cast<int64_t>(ranked.size()) > k + 1) ranked.pop_back();
    }
    Routing routing;
    const float last = ranked[k - 1].weight;
    routing.margin = n > k ? last - ranked[k].weight : last;
    ranked.resize(k);
    routing.experts = std::move(ranked);
    return routing;
}

void renormalise(Routing& routing) {
    float total = routing.experts[0].weight;
    for (std::size_t i = 1; i < routing.experts.size(); ++i) total = total + routing.experts[i].weight;
    for (RoutedExpert& chosen : routing.experts) chosen.weight = chosen.weight / total;
}

}  // namespace invar::law
