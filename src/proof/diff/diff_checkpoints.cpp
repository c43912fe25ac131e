#include "proof/diff/diff_checkpoints.h"

#include <algorithm>

#include "proof/diff/diff_rows.h"

namespace invar {
namespace {

// A tensor that does not resemble its counterpart at all may be that of another layer.
void look_in_other_layers(const CheckpointMatch& match, TensorDistance& distance) {
    constexpr double kSame = 0.85;
    const MatchedTensor& pair = *distance.pair;
    for (const MatchedTensor& other : match.pairs) {
        if (other.id.role != pair.id.role || other.id.layer == pair.id.layer) continue;
        if (other.b.shape != pair.a.shape || mean_cosine(pair.a, other.b) < kSame) continue;
        distance.suspicions = {fmt::format("it is that of layer {} in B: layers are swapped", other.id.layer)};
        return;
    }
}

}  // namespace

int64_t CheckpointDiff::suspicious_tensors() const {
    return std::count_if(tensors.begin(), tensors.end(),
                         [](const TensorDistance& tensor) { return !tensor.suspicions.empty(); });
}

int64_t CheckpointDiff::suspicions() const {
    const int64_t found =
        static_cast<int64_t>(match.hyperparameters.size() + match.missing.size() + match.extra.size()) +
        suspicious_tensors();
    return found == 0 && verbs && verbs->first ? 1 : found;
}

Result<CheckpointDiff> diff_weights(const Checkpoint& a, const Checkpoint& b, ThreadPool& pool,
                                    const DiffProgress& progress) {
    CheckpointDiff diff{.a = a.name(), .b = b.name()};
    TRY_ASSIGN(diff.match, match_checkpoints(a, b));
    const auto total = static_cast<int64_t>(diff.match.pairs.size());
    for (const MatchedTensor& pair : diff.match.pairs) {
        diff.tensors.push_back(tensor_distance(pair, pool));
        const auto done = static_cast<int64_t>(diff.tensors.size());
        if (progress && !progress(done, total)) return fail("stopped after {} of {} tensors", done, total);
    }
    for (TensorDistance& distance : diff.tensors) {
        if (distance.unexplained && distance.finite) look_in_other_layers(diff.match, distance);
    }
    return diff;
}

}  // namespace invar
