#include "proof/faults/likely_cause.h"

#include <cmath>
#include <cstring>

#include "proof/faults/fault_kind.h"
#include "proof/record/replay.h"

namespace invar {
namespace {

// |a - b| / |b| of one position; infinite where they cannot be compared. NaN equals NaN.
double distance_at(const StageRecord* a, const StageRecord* b, int64_t position) {
    constexpr double kFar = HUGE_VAL;
    if (a == nullptr || b == nullptr || a->width() != b->width()) return kFar;
    const auto row_a = a->index_of(position), row_b = b->index_of(position);
    if (!row_a || !row_b) return kFar;
    double difference = 0, size = 0;
    for (int64_t i = 0; i < a->width(); ++i) {
        const double x = a->value(*row_a, i), y = b->value(*row_b, i);
        if (std::isnan(x) && std::isnan(y)) continue;
        difference += (x - y) * (x - y);
        size += y * y;
    }
    if (difference == 0) return 0;
    return size > 0 && std::isfinite(difference) ? std::sqrt(difference / size) : kFar;
}

// Verbs of several stages (routing, the cache) have a name of their own, so their stages are found by the verb.
bool makes_stage(const VerbSite& site, const StageRecord& stage) {
    if (site.key == stage.key) return true;
    const bool several = row_of(site.verb).stages != StagesOf::result;
    return several && site.key.layer == stage.key.layer && verb_name(site.verb) == stage.verb;
}

// A fault at the verb that made the stage, with its parts chosen so that it strikes the wrong number.
FaultPlace place_of(const FaultKind& kind, const VerbSite& site, const WrongStage& stage) {
    FaultPlace place{.kind = &kind, .spec = {.fault = std::string(kind.name), .stage = site.key.name}, .site = site};
    if (site.key.layer >= 0) place.spec.layer = site.key.layer;
    if ((kind.parts & fault_part::position) != 0) place.spec.position = stage.position;
    if ((kind.parts & fault_part::row) != 0 && site.width > 0 && site.rows > 0)
        place.spec.row = stage.element % site.rows;
    if ((kind.parts & fault_part::slot) != 0 && site.experts_per_row > 0 && site.width > 0)
        place.spec.slot = stage.element / site.width % site.experts_per_row;
    return place;
}

}  // namespace

std::string to_string(const LikelyCause& cause) {
    return cause.exact ? fmt::format("as if {} (fault {} gives exactly these bits)", cause.meaning, cause.fault)
                       : fmt::format("as if {} (fault {} comes within {:.2g} of it)", cause.meaning, cause.fault,
                                     cause.distance);
}

Result<std::optional<LikelyCause>> likely_cause(EngineRunner& engine, const Recording& inputs, const Recording& wrong,
                                                const WrongStage& stage) {
    const StageRecord* target = wrong.find(stage.key);
    if (target == nullptr) return std::nullopt;
    TRY_ASSIGN(const std::vector<VerbSite> sites, survey_verbs(engine.config(), engine.engine().plan()));
    const auto results_with = [&](std::vector<VerbHook*> hooks) -> Result<double> {
        const ReplayRequest request{.recording = inputs, .chunk = engine.chunk(), .before = std::move(hooks)};
        TRY_ASSIGN(const ReplayResult result, replay(engine, request, Tolerances()));
        return distance_at(result.own.find(stage.key), target, stage.position);
    };
    TRY_ASSIGN(double closest, results_with({}));
    closest = std::isfinite(closest) ? closest / 10 : 1;
    std::optional<LikelyCause> cause;
    for (const VerbSite& site : sites) {
        if (!makes_stage(site, *target)) continue;
        for (const FaultKind& kind : all_faults()) {
            if (!kind.fits(site)) continue;
            FaultHook hook(place_of(kind, site, stage));
            TRY_ASSIGN(const double distance, results_with({&hook}));
            if (!hook.report().struck || distance >= closest) continue;
            closest = distance;
            cause = LikelyCause{std::string(kind.name), std::string(kind.meaning), distance == 0, distance};
            if (distance == 0) return cause;
        }
    }
    return cause;
}

}  // namespace invar
