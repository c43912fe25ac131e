#include "proof/faults/verb_sites.h"

#include <algorithm>

#include "load/registry.h"
#include "proof/record/hooked_ops.h"

namespace invar {
namespace {

// Verbs without arithmetic and tensors without memory.
class NoOps final : public Ops {
  public:
    Tensor scratch(int64_t rows, int64_t width) override { return {nullptr, Place::host, rows, width, width}; }
    ExpertSlots scratch_slots(int64_t rows, int experts_per_row) override {
        return {.rows = rows, .experts_per_row = experts_per_row};
    }
    void begin_pass() override {}
    std::optional<NonFinite> failure() const override { return std::nullopt; }

    void embed(Stage, const WeightMatrix&, const Batch&, Tensor) override {}
    void rms_norm(Stage, Tensor, const WeightVector&, float, Tensor) override {}
    void linear(Stage, const WeightMatrix&, Tensor, Tensor) override {}
    void add_bias(Stage, Tensor, const WeightVector&) override {}
    void rope(Stage, const RopeTable&, const Batch&, Tensor) override {}
    void store_kv(Stage, int, const Batch&, Tensor, Tensor, KvCache&) override {}
    void attention(Stage, const AttentionCall&, const Batch&, Tensor, const KvCache&, Tensor) override {}
    void silu_multiply(Stage, Tensor, Tensor, Tensor) override {}
    void add(Stage, Tensor, Tensor) override {}
    void route(Stage, const RouteSpec&, Tensor, ExpertSlots) override {}
    void expert_linear(Stage, const WeightStack&, const ExpertSlots&, SlotInput, Tensor, Tensor) override {}
    void combine_experts(Stage, const ExpertSlots&, Tensor, Tensor) override {}
    void gather_rows(Stage, Tensor, std::span<const int32_t>, Tensor) override {}
};

class Surveyor final : public VerbHook {
  public:
    void after(const VerbCall& call) override {
        VerbSite site{.verb = call.verb,
                      .key = {call.stage.layer, std::string(call.stage.name), call.occurrence},
                      .width = call.out.width(),
                      .input_width = call.x.width(),
                      .wanted_rows_only = !call.pass_rows.empty()};
        if (call.matrix != nullptr) take(*call.matrix, site);
        if (call.stack != nullptr) {
            take(call.stack->first, site);
            site.experts = call.stack->count;
        }
        if (call.vector != nullptr) site.weight = call.vector->id;
        if (call.cache_read != nullptr) {
            const KvGeometry& geometry = call.cache_read->layers()[static_cast<size_t>(call.stage.layer)];
            site.kv_heads = geometry.kv_heads;
            site.heads = call.attention != nullptr ? call.attention->heads : 0;
            site.cache_type = call.cache_read->type();
        }
        if (call.route != nullptr) {
            site.routed = call.x.width();
            site.renormalise = call.route->renormalise;
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
    const auto all = architectures();
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const Architecture* one) { return one->name == config.architecture; });
    if (found == all.end()) return fail("architecture '{}' is not one of ours; see invar models", config.architecture);
    const WeightRegistry shapes = WeightRegistry::without_memory(plan);
    TRY_ASSIGN(const std::unique_ptr<Model> model, (*found)->build(config, shapes));
    const std::unique_ptr<KvCache> cache = KvCache::without_memory(config.kv_geometry(), plan.cache_type);
    Batch batch;
    batch.rows.push_back({.token = 0, .sequence = cache->add_sequence(), .position = 0});
    batch.logits_rows.push_back(0);
    NoOps nothing;
    Surveyor surveyor;
    HookedOps hooked(nothing, {&surveyor});
    hooked.begin_pass();
    model->forward(hooked, batch, *cache);
    return std::move(surveyor.sites);
}

}  // namespace invar
