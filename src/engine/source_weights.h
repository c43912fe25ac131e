// Weights as the file has them, by identity: what observers on the host read where the loaded weight is on a device.
// Nothing is loaded: matrices are views of the mapped files, and what has to be made (a vector, rows in another order)
// is made when it is first asked for.
#pragma once

#include <map>
#include <vector>

#include "checkpoint/weight_plan.h"

namespace invar {

class SourceWeights {
  public:
    // The plan and its checkpoint outlive it.
    explicit SourceWeights(const WeightPlan& plan) : plan_(plan) {}

    WeightMatrix matrix(WeightId id);
    WeightStack stack(WeightId id);
    WeightVector vector(WeightId id);

  private:
    const StoredWeight& stored(WeightId id) const;
    const std::byte* rows_of(WeightId id);

    const WeightPlan& plan_;
    std::map<WeightId, std::vector<float>> vectors_;
    std::map<WeightId, std::vector<std::byte>> made_;
};

}  // namespace invar
