// Counts how many experts passes read, per layer. The router decides it, and the same tokens always take the same
// experts.
#pragma once

#include <set>
#include <span>
#include <vector>

#include "ops/verb_call.h"

namespace invar {

class ExpertCounter final : public VerbHook {
  public:
    explicit ExpertCounter(size_t layers) : read_(layers) {}

    Looks looks() const override { return Looks::at_results; }
    void after(const VerbCall& call) override {
        if (!row_of(call.verb).makes(verb_field::slots)) return;
        const ExpertSlots& slots = call.slots;
        const std::set<int32_t> distinct(slots.experts, slots.experts + slots.rows * slots.experts_per_row);
        read_[static_cast<size_t>(call.stage.layer)] += static_cast<int64_t>(distinct.size());
    }
    std::span<const int64_t> read() const { return read_; }

  private:
    std::vector<int64_t> read_;
};

}  // namespace invar
