#include "proof/verify_accuracy.h"
namespace invar {
double AccuracyReport::mean_kl() const { return 0; }
double AccuracyReport::largest_kl() const { return 0; }
double AccuracyReport::same_first_share() const { return 0; }
Result<AccuracyReport> measure_accuracy(const AccuracyRequest& request, const ProbeSet& probes, const StageBook& book) {
    return fail("not yet");
}
}  // namespace invar
