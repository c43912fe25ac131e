// Records and replays passes. See pass_graphs.h.
#include "cuda/pass_graphs.h"

#include <algorithm>

#include "cuda/cuda_ops_control.cuh"

namespace invar {

struct PassGraphs::Known {
    Shape shape;
    bool refused = false;
    std::unique_ptr<DeviceGraph> graph;
    // The state that a plain pass leaves in CudaOps.
    Tensor result;
    std::vector<CudaOps::Call> calls;
    int64_t taken = 0;
};

PassGraphs::PassGraphs(CudaOps& ops) : ops_(ops) {}
PassGraphs::~PassGraphs() = default;
std::unique_ptr<RecordedPasses> CudaOps::make_recorded_passes() { return std::make_unique<PassGraphs>(*this); }
void PassGraphs::forget() { known_.clear(); }

namespace {

constexpr size_t kMostKnown = 64;  // graphs are small beside weights, but not nothing

std::vector<int32_t> run_rows_of(const Batch& batch) {
    std::vector<int32_t> rows;
    for (size_t i = 0; i < batch.rows.size(); ++i) {
        if (i == 0 || batch.rows[i].sequence != batch.rows[i - 1].sequence) rows.push_back(0);
        ++rows.back();
    }
    return rows;
}

}  // namespace

Result<Tensor> PassGraphs::run(const void* model, const Batch& batch, const SequenceState& cache,
                               const std::function<Tensor()>& forward) {
    Shape shape{.model = model,
                .cache = &cache,
                .run_rows = run_rows_of(batch),
                .logits_rows = batch.logits_rows,
                .chunks = attention_chunks(batch)};
    const auto found =
        std::find_if(known_.begin(), known_.end(), [&](const auto& known) { return known->shape == shape; });
    if (found == known_.end() || (*found)->refused) {
        counts_.plain += 1;
        counts_.refused += found == known_.end() ? 0 : 1;
        if (found == known_.end()) {
            if (known_.size() == kMostKnown) known_.erase(known_.begin());
            known_.push_back(std::make_unique<Known>());
            known_.back()->shape = std::move(shape);
        }
        ops_.begin_pass();
        return forward();
    }
    // Moves the shape to the place of the one used last.
    std::rotate(found, found + 1, known_.end());
    Known& known = *known_.back();
    if (!known.graph) return record(known, batch, cache, forward);
    return replay(known, batch, cache);
}

Result<Tensor> PassGraphs::record(Known& known, const Batch& batch, const SequenceState& cache,
                                  const std::function<Tensor()>& forward) {
    Device& device = ops_.settings_.device;
    ops_.start_pass(batch, cache);
    TRY(ops_.device_error());
    TRY(device.begin_recording());
    known.result = forward();
    auto graph = device.end_recording();
    if (!graph || !ops_.device_error()) {
        // The pass copies something in its middle, so it cannot be a graph.
        known.refused = true;
        counts_.plain += 1;
        counts_.refused += 1;
        ops_.error_ = {};
        ops_.begin_pass();
        return forward();
    }
    known.graph = std::move(*graph);
    known.calls = ops_.calls_;
    known.taken = ops_.taken_;
    counts_.recorded += 1;
    ops_.keep(device.replay(*known.graph));
    TRY(ops_.device_error());
    return known.result;
}

Result<Tensor> PassGraphs::replay(const Known& known, const Batch& batch, const SequenceState& cache) {
    counts_.replayed += 1;
    ops_.start_pass(batch, cache);
    ops_.calls_ = known.calls;
    ops_.taken_ = known.taken;
    ops_.keep(ops_.settings_.device.replay(*known.graph));
    TRY(ops_.device_error());
    return known.result;
}

}  // namespace invar
