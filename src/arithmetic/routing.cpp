// Ranks by insertion: n is at most a few hundred and k about eight.
#include "arithmetic/routing.h"

#include <cstddef>
#include <limits>

#include "arithmetic/elementary.h"
#include "arithmetic/softmax.h"
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

namespace {

// Marks the experts that cannot be chosen with -inf in `ranks`.
void leave_out_groups(const RouteSpec& spec, int64_t n, std::vector<float>& ranks) {
    const int64_t size = n / spec.groups;
    std::vector<float> group_scores(static_cast<std::size_t>(spec.groups));
    for (int64_t group = 0; group < spec.groups; ++group) {
        const int64_t best_of = spec.group_score == RouteSpec::GroupScore::best || size == 1 ? 1 : 2;
        const Routing best = top_k(ranks.data() + group * size, size, best_of);
        float score = best.experts[0].weight;
        if (best_of == 2) score = score + best.experts[1].weight;
        group_scores[static_cast<std::size_t>(group)] = score;
    }
    std::vector<bool> used(static_cast<std::size_t>(spec.groups), false);
    for (const RoutedExpert& group : top_k(group_scores.data(), spec.groups, spec.groups_used).experts)
        used[static_cast<std::size_t>(group.expert)] = true;
    for (int64_t i = 0; i < n; ++i) {
        if (!used[static_cast<std::size_t>(i / size)])
            ranks[static_cast<std::size_t>(i)] = -std::numeric_limits<float>::infinity();
    }
}

}  // namespace

void score_experts(RouteSpec::Scoring scoring, const float* logits, int64_t n, float* scores) {
    switch (scoring) {
        case RouteSpec::Scoring::softmax:
            softmax(logits, n, scores);
            break;
        case RouteSpec::Scoring::softmax_of_chosen:
        case RouteSpec::Scoring::sigmoid_of_chosen:
            for (int64_t i = 0; i < n; ++i) scores[i] = logits[i];
            break;
        case RouteSpec::Scoring::sigmoid:
            for (int64_t i = 0; i < n; ++i) scores[i] = sigmoid(logits[i]);
            break;
    }
}

Routing route(const RouteSpec& spec, const float* logits, const float* selection_bias, const float* factors, int64_t n,
              float* scores) {
    score_experts(spec.scoring, logits, n, scores);
    std::vector<float> ranks(scores, scores + n);
    for (int64_t i = 0; selection_bias != nullptr && i < n; ++i)
        ranks[static_cast<std::size_t>(i)] = scores[i] + selection_bias[i];
    if (spec.groups > 1) leave_out_groups(spec, n, ranks);

    Routing routing = top_k(ranks.data(), n, spec.experts_per_row);
    // An expert that could not be chosen is no near tie.
    if (routing.margin == std::numeric_limits<float>::infinity()) routing.margin = routing.experts.back().weight;
    const bool sigmoids = spec.scoring == RouteSpec::Scoring::sigmoid_of_chosen;
    for (RoutedExpert& chosen : routing.experts)
        chosen.weight = sigmoids ? sigmoid(scores[chosen.expert]) : scores[chosen.expert];
    if (spec.scoring == RouteSpec::Scoring::softmax_of_chosen) {
        std::vector<float> chosen_logits;
        for (const RoutedExpert& chosen : routing.experts) chosen_logits.push_back(chosen.weight);
        softmax(chosen_logits.data(), static_cast<int64_t>(chosen_logits.size()), chosen_logits.data());
        for (std::size_t j = 0; j < chosen_logits.size(); ++j) routing.experts[j].weight = chosen_logits[j];
    } else if (spec.renormalise) {
        float total = routing.experts[0].weight;
        for (std::size_t j = 1; j < routing.experts.size(); ++j) total = total + routing.experts[j].weight;
        if (spec.sum_floor != 0) total = total + spec.sum_floor;
        for (RoutedExpert& chosen : routing.experts) chosen.weight = chosen.weight / total;
    }
    for (RoutedExpert& chosen : routing.experts) {
        if (spec.factor != 1) chosen.weight = chosen.weight * spec.factor;
        if (factors != nullptr) chosen.weight = chosen.weight * factors[chosen.expert];
    }
    return routing;
}

}  // namespace invar::law
