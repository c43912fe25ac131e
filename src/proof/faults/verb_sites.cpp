#include "proof/faults/verb_sites.h"

#include <algorithm>

#include "engine/pass_survey.h"
#include "proof/record/hooked_ops.h"

namespace invar {
namespace {

// The layer nearest to `shared` whose keys and values attention could read in its place: one that was computed before
// `layer`, with heads and a window alike. -1: there is none.
int other_layer_of(const SequenceState& cache, int shared, int layer) {
    const auto alike = [&](int other) {
        const KvGeometry &a = cache.layers()[static_cast<size_t>(shared)],
                         &b = cache.layers()[static_cast<size_t>(other)];
        return cache.group_of(other) == cache.group_of(shared) && a.kv_heads == b.kv_heads &&
               a.key_width == b.key_width && a.value_width == b.value_width;
    };
    for (int other = shared - 1; other >= 0; --other)
        if (alike(other)) return other;
    for (int other = shared + 1; other < layer; ++other)
        if (alike(other)) return other;
    return -1;
}

class Surveyor final : public VerbHook {
  public:
    void after(const VerbCall& call) override {
        VerbSite site{.verb = call.verb,
                      .key = {call.stage.layer, std::string(call.stage.name), call.occurrence},
                      .width = call.out.width(),
                      .input_width = call.x.width(),
                      .second_width = call.x2.width(),
                      .wanted_rows_only = !call.pass_rows.empty()};
        if (call.matrix != nullptr) take(*call.matrix, site);
        if (call.stack != nullptr) {
            take(call.stack->first, site);
            site.experts = call.stack->count;
        }
        if (call.vector != nullptr) site.weight = call.vector->id;
        site.table_row = call.table_row;
        site.factor = call.factor;
        site.route = call.route;
        site.routed = call.route ? call.x.width() : 0;
        site.activation = call.activation;
        site.position_scale = call.position_scale;
        if (call.recurrence) {
            site.recurrence = call.recurrence->heads;
        } else if (call.cache_read != nullptr) {
            const KvGeometry& geometry = call.cache_read->layers()[static_cast<size_t>(call.cache_layer)];
            site.kv_heads = geometry.kv_heads;
            site.heads = call.attention ? call.attention->heads : 0;
            site.reach = geometry.reach;
            site.softcap = call.attention ? call.attention->softcap : 0;
            site.cache_type = call.cache_read->type();
            if (call.verb == Verb::attention && call.cache_layer != call.stage.layer)
                site.other_layer = other_layer_of(*call.cache_read, call.cache_layer, call.stage.layer);
        }
        const bool has_slots = call.slots.experts_per_row > 0;
        site.experts_per_row = has_slots ? call.slots.experts_per_row
                               : call.out.rows() > call.rows() && call.rows() > 0
                                   ? static_cast<int>(call.slots_of_row())
                                   : 0;
        sites.push_back(std::move(site));
    }

    std::vector<VerbSite> sites;

  private:
    static void take(const WeightMatrix& matrix, VerbSite& site) {
        site.weight = matrix.id;
        site.format = matrix.format;
        site.rows = matrix.rows;
        site.columns = matrix.columns;
    }
};

}  // namespace

Result<std::vector<VerbSite>> survey_verbs(const ModelConfig& config, const WeightPlan& plan) {
    TRY_ASSIGN(PassSurvey survey, PassSurvey::of(config, plan, batch_of(0, 1, 1)));
    SurveyOps nothing;
    Surveyor surveyor;
    HookedOps hooked(nothing, {&surveyor});
    hooked.begin_pass();
    for (const VerbCall& call : survey.calls()) hooked.run(call);
    return std::move(surveyor.sites);
}

}  // namespace invar
