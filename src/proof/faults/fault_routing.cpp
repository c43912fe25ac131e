// Faults of routing: the choice of experts, their order and their weights. A recording has several stages of a route,
// and a fault must show at the right one: expert_weights come before expert_ids.
#include <algorithm>
#include <cstring>

#include "arithmetic/routing.h"
#include "proof/faults/fault_kind.h"

namespace invar::faults {
namespace {

struct RoutedRow {
    const VerbCall& call;
    int64_t row;
    int64_t slot;  // the rank of the expert that the fault concerns
    std::vector<int32_t>& experts;
    std::vector<float>& weights;
    std::string& detail;
};

void choose_wrong_expert(const RoutedRow& row) {
    const auto count = static_cast<int32_t>(row.call.x.width());
    int32_t& expert = row.experts[static_cast<size_t>(row.slot)];
    const int32_t right = expert;
    do {
        expert = (expert + 1) % count;
    } while (expert != right && std::count(row.experts.begin(), row.experts.end(), expert) > 1);
    row.detail = fmt::format("rank {}: expert {} in place of {}", row.slot, expert, right);
}

void drop_expert(const RoutedRow& row) {
    row.weights[static_cast<size_t>(row.slot)] = 0;
    row.detail = fmt::format("rank {}: expert {} has weight 0", row.slot, row.experts[static_cast<size_t>(row.slot)]);
}

void weigh_uniformly(const RoutedRow& row) {
    std::fill(row.weights.begin(), row.weights.end(), 1.0f / static_cast<float>(row.weights.size()));
}

const float* pointer_to(const WeightVector* vector) { return vector == nullptr ? nullptr : vector->data; }

// Routes again by the law with another specification.
void route_by(const RoutedRow& row, const RouteSpec& spec, const float* factors) {
    const int64_t count = row.call.x.width();
    std::vector<float> scores(static_cast<size_t>(count));
    const Routing routing =
        law::route(spec, row.call.x.host_row(row.row), pointer_to(row.call.vector), factors, count, scores.data());
    for (size_t j = 0; j < row.weights.size(); ++j) {
        row.experts[j] = routing.experts[j].expert;
        row.weights[j] = routing.experts[j].weight;
    }
}

void leave_out_renormalising(const RoutedRow& row) {
    RouteSpec spec = *row.call.route;
    spec.renormalise = false;
    route_by(row, spec, pointer_to(row.call.vector2));
}

void ignore_groups(const RoutedRow& row) {
    RouteSpec spec = *row.call.route;
    row.detail = fmt::format("all {} groups in place of {}", spec.groups, spec.groups_used);
    spec.groups = spec.groups_used = 1;
    route_by(row, spec, pointer_to(row.call.vector2));
}

void leave_out_route_factor(const RoutedRow& row) {
    RouteSpec spec = *row.call.route;
    spec.factor = 1;
    route_by(row, spec, pointer_to(row.call.vector2));
}

// The weights are what experts are ranked by, with the selection bias, in place of the scores without it.
void weigh_with_bias(const RoutedRow& row) {
    const RouteSpec& spec = *row.call.route;
    const int64_t count = row.call.x.width();
    std::vector<float> scores(static_cast<size_t>(count));
    law::score_experts(spec.scoring, row.call.x.host_row(row.row), count, scores.data());
    float sum = 0;
    for (size_t j = 0; j < row.weights.size(); ++j) {
        const auto expert = static_cast<size_t>(row.experts[j]);
        row.weights[j] = scores[expert] + row.call.vector->data[expert];
        sum = j == 0 ? row.weights[j] : sum + row.weights[j];
    }
    for (size_t j = 0; j < row.weights.size(); ++j) {
        if (spec.renormalise) row.weights[j] = row.weights[j] / (sum + spec.sum_floor);
        row.weights[j] = row.weights[j] * spec.factor;
        if (row.call.vector2 != nullptr) row.weights[j] *= row.call.vector2->data[row.experts[j]];
    }
}

void reverse_order(const RoutedRow& row) {
    std::reverse(row.experts.begin(), row.experts.end());
    std::reverse(row.weights.begin(), row.weights.end());
}

void swap_experts(const RoutedRow& row) {
    std::swap(row.experts[0], row.experts[1]);
    row.detail = fmt::format("experts {} and {}", row.experts[1], row.experts[0]);
}

using RewriteRouting = void (*)(const RoutedRow& row);
constexpr std::pair<std::string_view, RewriteRouting> kRewrites[] = {
    {"wrong_expert", choose_wrong_expert},
    {"dropped_expert", drop_expert},
    {"uniform_weights", weigh_uniformly},
    {"no_renormalise", leave_out_renormalising},
    {"unsorted_experts", reverse_order},
    {"swapped_experts", swap_experts},
    {"biased_weights", weigh_with_bias},
    {"ignored_groups", ignore_groups},
    {"missing_route_factor", leave_out_route_factor},
};

class RoutingFault final : public Fault {
  public:
    RoutingFault(const FaultPlace& place, FaultReport& report) : place_(place), report_(report), rows_(place) {
        for (const auto& [name, rewrite] : kRewrites) {
            if (name == place.kind->name) rewrite_ = rewrite;
        }
    }

    void after(const VerbCall& call) override {
        const auto k = static_cast<size_t>(call.slots.experts_per_row);
        for (int64_t row = 0; row < call.rows(); ++row) {
            if (!rows_.wants(call.row(row).position)) continue;
            int32_t* ids = call.slots.experts + row * call.slots.experts_per_row;
            float* scales = call.slots.weights + row * call.slots.experts_per_row;
            std::vector<int32_t> experts(ids, ids + k);
            std::vector<float> weights(scales, scales + k);
            std::string detail;
            rewrite_({call, row, place_.spec.slot.value_or(0), experts, weights, detail});
            const int64_t weight = first_difference({scales, k}, weights);
            const int64_t expert = std::mismatch(experts.begin(), experts.end(), ids).second - ids;
            if (weight < 0 && expert == call.slots.experts_per_row) continue;
            std::copy(experts.begin(), experts.end(), ids);
            std::copy(weights.begin(), weights.end(), scales);
            rows_.struck(call.row(row).position);
            const StageKey stage{call.stage.layer, weight >= 0 ? "expert_weights" : "expert_ids", call.occurrence};
            note_strike(report_, stage, call.row(row).position, weight >= 0 ? weight : expert, detail);
        }
    }

  private:
    const FaultPlace& place_;
    FaultReport& report_;
    StruckRows rows_;
    RewriteRouting rewrite_ = nullptr;
};

}  // namespace

std::unique_ptr<Fault> route_wrongly(const FaultPlace& place, FaultReport& report) {
    return std::make_unique<RoutingFault>(place, report);
}

}  // namespace invar::faults
