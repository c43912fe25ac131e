// Gives weights as the file has them. Observers on the host read these where the loaded weight is on a device. Nothing
// is loaded: matrices are views of the mapped files. A vector, or rows that the plan reorders, are made when first
// asked for.
#pragma once

#include <map>
#include <vector>

#include "checkpoint/weight_plan.h"

namespace invar {

class SourceWeights {
  public:
    // The plan and its checkpoint must outlive this object.
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
