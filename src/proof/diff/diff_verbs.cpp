#include "proof/diff/diff_verbs.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "proof/record/recorder.h"
#include "proof/record/replay.h"

namespace invar {

bool VerbReport::equal() const {
    return !verbs.empty() &&
           std::all_of(verbs.begin(), verbs.end(), [](const VerbDistance& verb) { return verb.relative_rms == 0; });
}

namespace {

constexpr int64_t kMostBytes = int64_t{1} << 30;

// Counts the values of a pass.
class ValueCounter final : public VerbHook {
  public:
    Looks looks() const override { return Looks::at_calls; }
    void after(const VerbCall& call) override { values_ += values_recorded(call); }
    int64_t values() const { return values_; }

  private:
    int64_t values_ = 0;
};

Result<void> feed_all(ModelRunner& runner, std::span<const int32_t> tokens, int32_t sequence, VerbHook& hook) {
    VerbHook* const hooks[] = {&hook};
    const FeedRequest request{.sequence = sequence, .tokens = tokens, .chunk = runner.chunk(), .all_logits = true};
    return feed(runner, request, hooks, nullptr);
}

}  // namespace

Result<Recording> record_verbs(ModelRunner& a, std::span<const int32_t> tokens) {
    ValueCounter counter;
    int32_t sequence = a.cache().add_sequence();
    Result<void> fed = feed_all(a, tokens.first(1), sequence, counter);
    a.cache().remove_sequence(sequence);
    TRY(std::move(fed));
    const int64_t each = std::max<int64_t>(1, counter.values()) * int64_t{sizeof(float)};
    const auto count = static_cast<size_t>(std::clamp<int64_t>(kMostBytes / each, 1, std::ssize(tokens)));
    sequence = a.cache().add_sequence();
    Recorder recorder(a, sequence, {});
    fed = feed_all(a, tokens.first(count), sequence, recorder);
    a.cache().remove_sequence(sequence);
    TRY(std::move(fed));
    Recording recording = recorder.take();
    recording.tokens.assign(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(count));
    return recording;
}

namespace {

// What the distances of the weights explain, by the stage that reads them.
class Explained {
  public:
    Explained(std::span<const TensorDistance> distances, const std::vector<VerbSite>& sites) : distances_(distances) {
        for (const VerbSite& site : sites) sites_.emplace(site.key, &site);
        equal_ = !distances.empty() && std::all_of(distances.begin(), distances.end(),
                                                   [](const TensorDistance& one) { return one.equal_bits; });
        for (const TensorDistance& one : distances) {
            if (one.pair->a.shape.size() == 1) {
                double& most = vectors_[one.pair->id.layer];
                most = std::max(most, by_formats(one));
            }
        }
    }

    std::optional<WeightId> weight_of(const StageKey& stage) const {
        const auto site = sites_.find(stage);
        return site == sites_.end() ? std::nullopt : site->second->weight;
    }
    // The distance of the weight; nullptr if the verb reads none or it was not compared.
    const TensorDistance* distance_of(const StageKey& stage) const {
        const auto id = weight_of(stage);
        if (!id) return nullptr;
        const TensorDistance* of_weight = distance_of(*id);
        // A tied head is the token embedding, which is compared once.
        return of_weight == nullptr && *id == kHead ? distance_of(kTokenEmbedding) : of_weight;
    }

    // With weights that are equal in every bit, so is every result; turns depend on constants that files round.
    double of(const StageKey& stage, std::string_view verb) const {
        const double least = equal_ && verb != verb_name(Verb::rope) ? 0 : 1e-5;
        const TensorDistance* distance = distance_of(stage);
        if (distance == nullptr || distance->pair->a.shape.size() == 1) {
            const auto vectors = vectors_.find(stage.layer);
            return std::max(least, kGrowth * (vectors == vectors_.end() ? 0 : vectors->second));
        }
        const bool rounds_a = !distance->pair->a.format->is_float, rounds_b = !distance->pair->b.format->is_float;
        return std::max(least, kGrowth * by_formats(*distance) + (rounds_a != rounds_b ? kRounding : 0));
    }

  private:
    // Of a product, in which large terms may cancel, over the distance of its weights.
    static constexpr double kGrowth = 4;
    // Of activations in 8 bits, where only one of the two products has them.
    static constexpr double kRounding = 0.03;

    static constexpr WeightId kHead{-1, "output_head"}, kTokenEmbedding{-1, "token_embedding"};

    const TensorDistance* distance_of(WeightId id) const {
        const auto found = std::find_if(distances_.begin(), distances_.end(),
                                        [&](const TensorDistance& one) { return one.pair->id == id; });
        return found == distances_.end() ? nullptr : &*found;
    }

    static double by_formats(const TensorDistance& one) {
        if (!std::isfinite(one.relative_rms)) return one.expected;
        return std::min(one.relative_rms, kTolerance * one.expected);
    }

    std::span<const TensorDistance> distances_;
    std::map<StageKey, const VerbSite*> sites_;
    std::map<int, double> vectors_;  // by layer
    bool equal_ = false;
};

VerbDistance verb_distance(const StageComparison& compared, const Explained& explained) {
    const StageFigures& figures = compared.figures;
    VerbDistance verb{.stage = compared.key,
                      .verb = compared.verb,
                      .relative_rms = figures.relative_rms,
                      .explained = explained.of(compared.key, compared.verb),
                      .weight = explained.weight_of(compared.key)};
    const auto& place = figures.first_non_finite ? figures.first_non_finite : figures.first;
    if (place) verb.position = place->position, verb.element = place->element;
    const bool chooses_others = figures.differing_sets + figures.differing_orders > 0;
    if (chooses_others) verb.relative_rms = 1;
    verb.suspicious = compared.outcome == StageOutcome::non_finite || compared.outcome == StageOutcome::mismatch ||
                      (is_failure(compared.outcome) && !(verb.relative_rms <= verb.explained));
    return verb;
}

// The cause of the first suspicious verb: what is wrong with its weight, or the fault that gives such results.
Result<void> find_cause(EngineRunner& b, const Recording& of_a, const Recording& of_b, const Explained& explained,
                        VerbReport& report) {
    const VerbDistance& first = report.verbs[*report.first];
    const TensorDistance* distance = explained.distance_of(first.stage);
    if (distance != nullptr && !distance->suspicions.empty()) {
        report.weight_suspicion = distance->suspicions.front();
        return {};
    }
    // Without an injected fault the engine of B is taken to be right, and what it lacks is looked for in A.
    const Recording& wrong = report.injected.empty() ? of_a : of_b;
    TRY_ASSIGN(report.cause, likely_cause(b, of_a, wrong, {first.stage, first.position, first.element}));
    return {};
}

}  // namespace

Result<VerbReport> compare_verbs(EngineRunner& b, const Recording& of_a, std::span<const TensorDistance> distances,
                                 const std::string& fault) {
    VerbReport report{.positions = std::ssize(of_a.tokens), .injected = fault};
    TRY_ASSIGN(const std::vector<VerbSite> sites, survey_verbs(b.config(), b.engine().plan()));
    ReplayRequest request{.recording = of_a, .chunk = b.chunk()};
    std::unique_ptr<FaultHook> hook;
    if (!fault.empty()) {
        TRY_ASSIGN(hook, make_fault(fault, b.config(), b.engine().plan()));
        request.before = {hook.get()};
    }
    TRY_ASSIGN(const ReplayResult result, replay(b, request, Tolerances()));
    if (hook && !hook->report().struck)
        return fail("--inject {}: the fault changed no bit of this run of {} tokens", fault, report.positions);
    const Explained explained(distances, sites);
    for (const StageComparison& compared : result.comparison.stages) {
        report.verbs.push_back(verb_distance(compared, explained));
        if (report.verbs.back().suspicious && !report.first) report.first = report.verbs.size() - 1;
    }
    if (report.first) TRY(find_cause(b, of_a, result.own, explained, report));
    return report;
}

}  // namespace invar
