#include "checkpoint/plan_cache.h"

#include <fmt/format.h>

#include <algorithm>

namespace invar {
namespace {

constexpr int64_t kMostBytes = int64_t{1} << 50;  // so that sums of reserves cannot overflow

// "64 pages of 64 positions x 147456 bytes in f16 + 25 pages ... in windows of 1024"
std::string cache_text(const StateLayout& layout, std::span<const int64_t> units, Place place, CacheType type) {
    std::string text;
    for (size_t i = 0; i < units.size(); ++i) {
        const StateGroup& group = layout.groups[i];
        if (group.kind == GroupKind::recurrence || (group.bytes(place) == 0 && units.size() > 1)) continue;
        text += fmt::format("{}{} pages of {} positions x {} bytes in {}", text.empty() ? "" : " + ", units[i],
                            kPagePositions, group.bytes(place) / kPagePositions, cache_type_name(type));
        if (group.kind != GroupKind::window) continue;
        text += fmt::format(", which {} of {} move through", group.reach == Reach::causal ? "windows" : "blocks",
                            group.window);
    }
    return text.empty() ? "no layer there has keys" : text;
}

// How many snapshots of recurrences a plan has if nobody says so.
int64_t default_snapshots(const StateLayout& layout) {
    for (const StateGroup& group : layout.groups) {
        if (group.kind != GroupKind::recurrence) continue;
        return std::clamp(kSnapshotBytes / std::max<int64_t>(1, group.bytes()), int64_t{1}, kMostSnapshots);
    }
    return 0;
}

// Adds the line of recurrent states at a place, if there are some; the line before it has the rest of `all_bytes`.
void reserve_states(WeightPlan& plan, const StateLayout& layout, const StateDemand& demand, Place place,
                    int64_t all_bytes) {
    for (const StateGroup& group : layout.groups) {
        const int64_t one = group.bytes(place);
        if (group.kind != GroupKind::recurrence || one == 0) continue;
        const int64_t states = demand.sequences, bytes = one * (states + demand.snapshots);
        plan.reserves.back().bytes = all_bytes - bytes;
        plan.reserves.push_back(
            {.name = "recurrent_state",
             .bytes = bytes,
             .reason = fmt::format("{} state{} and {} snapshots x {} bytes in f32, {} layers", states,
                                   states == 1 ? "" : "s", demand.snapshots, one, group.layers.size()),
             .place = place});
    }
}

// If there are fewer pages than all sequences could fill, a note says what that means.
Result<void> check_cache_positions(WeightPlan& plan, const StateDemand& demand) {
    const int64_t all = demand.context * demand.sequences;
    if (demand.positions == 0 || demand.positions >= all) return {};
    if (demand.positions < demand.context) {
        return fail("--cache-positions is {}, but one sequence can have {}; ask for more or a smaller --context",
                    demand.positions, demand.context);
    }
    plan.notes.push_back(fmt::format(
        "the KV cache has pages for {} positions and not for all {} of {} sequences: they take pages as they grow, and "
        "one that needs a page when none is left waits until another ends",
        demand.positions, all, demand.sequences));
    return {};
}

}  // namespace

Result<void> reserve_cache(WeightPlan& plan, const ModelConfig& config, const PlanRequest& request) {
    TRY_ASSIGN(const StateLayout layout, lay_out_state(config.state_geometry(request.cache_type, plan.layer_places)));
    StateDemand demand{.context = plan.context,
                       .chunk = plan.chunk,
                       .sequences = std::max(1, request.sequences),
                       .positions = request.cache_positions};
    demand.snapshots = request.snapshots.value_or(default_snapshots(layout));
    TRY(check_cache_positions(plan, demand));
    for (const StateGroup& group : layout.groups) plan.cache_units.push_back(units_for(group, demand));
    for (const Place place : {Place::host, Place::device}) {
        const auto layers = std::count(plan.layer_places.begin(), plan.layer_places.end(), place);
        if (place == Place::device && layers == 0) continue;
        const int64_t bytes = state_bytes(layout.groups, plan.cache_units, place);
        if (bytes > kMostBytes) {
            return fail(ErrorKind::out_of_memory,
                        "{}: a KV cache of {} is more than any machine holds; ask for a smaller --context or fewer "
                        "--snapshots",
                        config.name, cache_text(layout, plan.cache_units, place, request.cache_type));
        }
        std::string reason = cache_text(layout, plan.cache_units, place, request.cache_type);
        if (request.device) reason += fmt::format(", {} layers", layers);
        plan.reserves.push_back({.name = "kv_cache", .bytes = bytes, .reason = std::move(reason), .place = place});
        reserve_states(plan, layout, demand, place, bytes);
    }
    return {};
}

}  // namespace invar
