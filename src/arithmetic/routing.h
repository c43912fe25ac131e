// Chooses the experts of a token, their order and their weights (docs/arithmetic.md, section 6). The ranking is a total
// order, so that no two machines choose differently. The logits are computed elsewhere (dot law).
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
    // Selection score of the last chosen expert minus that of the best one left out that could have been chosen; if
    // there is none, the score of the last one. A small margin marks a near tie.
    float margin = 0;
};

struct RouteSpec {
    int experts_per_row = 0;
    bool renormalise = true;
    enum class Scoring : uint8_t {
        softmax,            // of all logits; ranks by it
        softmax_of_chosen,  // ranks by the logits; weights are the softmax of the chosen ones: Mixtral's papers,
                            // gpt-oss
        sigmoid,            // of each logit; ranks by it: DeepSeek-V3
        sigmoid_of_chosen,  // ranks by the logits; weights are the sigmoid of each chosen one: Llama 4
    } scoring = Scoring::softmax;
    // With groups > 1, only experts of the best `groups_used` groups of equal size can be chosen.
    int groups = 1, groups_used = 1;
    enum class GroupScore : uint8_t { best /* DeepSeek-V2 */, sum_of_best_two /* V3 */ } group_score = GroupScore::best;
    float sum_floor = 0;  // added to the sum by which weights are renormalised (1e-20 for sigmoid)
    float factor = 1;     // multiplies every weight in the end; left out where it is 1
    bool operator==(const RouteSpec&) const = default;
};

namespace law {

// The first k experts by (probability descending, index ascending). 1 <= k <= n. The caller refuses NaNs before.
Routing top_k(const float* probabilities, int64_t n, int64_t k);

// Divides each weight by their sum, taken in rank order from the first: ((w0 + w1) + w2) + ...
void renormalise(Routing& routing);

// What experts are ranked by before a bias: the softmax of the logits, the logits themselves (softmax_of_chosen,
// sigmoid_of_chosen), or the sigmoid of each. scores: [n]
void score_experts(RouteSpec::Scoring scoring, const float* logits, int64_t n, float* scores);

// The router of a token. `selection_bias` [n] is added to the scores for the ranking only; `factors` [n] multiply the
// weights of their experts in the end. Either may be nullptr. The steps:
//   s = scores of the logits; r_i = s_i + bias_i (r = s without a bias)
//   groups: a group's score is its best r, or r' + r'' of its best two (higher first); groups are ranked as experts
//     are; the experts of those that are not used cannot be chosen
//   the first k by (r descending, index ascending); w_j = s of the chosen (softmax_of_chosen: the softmax of them;
//     sigmoid_of_chosen: the sigmoid of each)
//   renormalise: w_j = w_j / (sum + sum_floor), the sum in rank order; sum_floor is left out where it is 0
//   w_j = w_j * factor, left out where it is 1; w_j = w_j * factors[expert]
// scores: scratch [n].
Routing route(const RouteSpec& spec, const float* logits, const float* selection_bias, const float* factors, int64_t n,
              float* scores);

}  // namespace law
}  // namespace invar
