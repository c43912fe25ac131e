// Weights as the file has them, by identity: what observers on the host read where the loaded weight is on a device.
// Nothing is loaded: matrices are views of the mapped file, and a vector is widened when it is first asked for.
#pragma once

#include <map>
#include <vector>

#include "checkpoint/weight_plan.h"

namespace invar {

class SourceWeights {
  public:
    // Both outlive it.
    SourceWeights(const WeightPlan& plan, const GgufFile& file) : plan_(plan), file_(file) {}

    WeightMatrix matrix(WeightId id) const;
    WeightStack stack(WeightId id) const;
    WeightVector vector(WeightId id);

  private:
    const TensorInfo& tensor_of(WeightId id) const;

    const WeightPlan& plan_;
    const GgufFile& file_;
    std::map<WeightId, std::vector<float>> vectors_;
};

}  // namespace invar
