#include "proof/diff/diff_drift.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "proof/eval/next_token.h"
#include "proof/record/recorder.h"

namespace invar {

Result<ResidualRun> run_residuals(ModelRunner& runner, std::span<const int32_t> tokens, std::vector<VerbHook*> before) {
    ResidualRun run{.tokens = {tokens.begin(), tokens.end()},
                    .width = runner.config().width,
                    .vocabulary = runner.config().vocabulary,
                    .result = runner.config().result};
    const auto width = static_cast<size_t>(run.width);
    StageRows rows(runner, {.stages = {"embedding", "residual_after_ffn"}}, [&](const StageRow& row) {
        std::vector<float>& layer = run.residuals[row.key.layer];
        layer.resize(tokens.size() * width);
        if (row.f32 == nullptr || row.width != run.width) return;
        std::memcpy(layer.data() + static_cast<size_t>(row.position) * width, row.f32, width * sizeof(float));
    });
    before.push_back(&rows);
    const int32_t sequence = runner.cache().add_sequence();
    const FeedRequest request{.sequence = sequence, .tokens = tokens, .chunk = runner.chunk(), .all_logits = true};
    const auto fed = feed(runner, request, before, [&](const Batch&, std::span<const float> logits) {
        if (run.result == ModelResult::logits) run.logits.insert(run.logits.end(), logits.begin(), logits.end());
    });
    runner.cache().remove_sequence(sequence);
    if (!fed) return tl::unexpected<Error>(fed.error());
    return run;
}

namespace {

LayerDrift drift_of(int layer, const std::vector<float>& a, const std::vector<float>& b, int64_t width) {
    LayerDrift drift{.layer = layer};
    double all = 0, all_size = 0;
    for (size_t start = 0; start < a.size(); start += static_cast<size_t>(width)) {
        double difference = 0, size = 0;
        for (size_t i = start; i < start + static_cast<size_t>(width); ++i) {
            const double d = double{a[i]} - b[i];
            difference += d * d;
            size += double{a[i]} * a[i];
        }
        const double relative = size > 0 ? std::sqrt(difference / size) : 0;
        if (relative > drift.worst) {
            drift.worst = relative;
            drift.worst_position = static_cast<int64_t>(start) / width;
        }
        all += difference;
        all_size += size;
    }
    drift.relative_rms = all_size > 0 ? std::sqrt(all / all_size) : 0;
    return drift;
}

}  // namespace

double DriftReport::mean_kl() const {
    double sum = 0;
    for (const PositionDrift& position : positions) sum += position.kl;
    return positions.empty() ? 0 : sum / static_cast<double>(positions.size());
}

double DriftReport::largest_kl() const {
    double most = 0;
    for (const PositionDrift& position : positions) most = std::max(most, position.kl);
    return most;
}

double DriftReport::same_best_share() const {
    const auto same = std::count_if(positions.begin(), positions.end(), [](const auto& p) { return p.same_best; });
    return positions.empty() ? 1 : static_cast<double>(same) / static_cast<double>(positions.size());
}

bool DriftReport::equal_bits() const {
    return !positions.empty() &&
           std::all_of(positions.begin(), positions.end(), [](const PositionDrift& one) { return one.equal_bits; });
}

DriftReport compare_runs(const ResidualRun& a, const ResidualRun& b) {
    DriftReport report;
    double before = 0;
    std::vector<double> added;
    for (const auto& [layer, rows] : a.residuals) {
        const auto other = b.residuals.find(layer);
        if (other == b.residuals.end() || other->second.size() != rows.size()) continue;
        LayerDrift drift = drift_of(layer, rows, other->second, a.width);
        drift.added = std::sqrt(std::max(0.0, drift.relative_rms * drift.relative_rms - before * before));
        before = drift.relative_rms;
        if (layer >= 0) added.push_back(drift.added);
        report.layers.push_back(drift);
    }
    if (!added.empty()) {
        std::nth_element(added.begin(), added.begin() + static_cast<std::ptrdiff_t>(added.size() / 2), added.end());
        const double limit = std::max(4 * added[added.size() / 2], 0.02);  // four bits cost more than 2 %
        const auto jump = std::find_if(report.layers.begin(), report.layers.end(), [&](const LayerDrift& drift) {
            return drift.layer >= 0 && drift.added > limit;
        });
        if (jump != report.layers.end()) report.first_jump = jump->layer;
    }
    report.logits = a.result == ModelResult::logits && b.result == ModelResult::logits;
    if (!report.logits) {
        const bool same = a.residuals == b.residuals;
        report.positions.assign(a.tokens.size(), {.equal_bits = same});
        return report;
    }
    // If a vocabulary is padded, only the tokens that both have are compared.
    const auto common = static_cast<size_t>(std::min(a.vocabulary, b.vocabulary));
    for (size_t i = 0; i < a.tokens.size(); ++i) {
        const std::span<const float> x(a.logits.data() + i * static_cast<size_t>(a.vocabulary), common);
        const std::span<const float> y(b.logits.data() + i * static_cast<size_t>(b.vocabulary), common);
        const LogitsRow p{x, next_token(x)}, q{y, next_token(y)};
        report.positions.push_back({.kl = kl_divergence(p, q),
                                    .same_best = p.summary.best == q.summary.best,
                                    .equal_bits = std::memcmp(x.data(), y.data(), common * sizeof(float)) == 0});
    }
    return report;
}

}  // namespace invar
